#include "model_kind.h"

#include <string.h>

#include "base/error.h"
#include "judge.h"

/* By a key's value. */
static const struct {
    const char *key, *value, *what;
} kinds[] = {
    {"general.type", "adapter",
     "an adapter (LoRA), a change to a model: merge it into that model with llama-export-lora, and name the result"},
    {"general.type", "mmproj",
     "the encoder of a multimodal model (mmproj), which reads images or sound: name the language model's file"},
    {"general.type", "imatrix", "an importance matrix, for quantising a model: name the model's file"},
    {"general.architecture", "clip",
     "the encoder of a multimodal model (clip), which reads images or sound: name the language model's file"},
    {"general.architecture", "controlvector",
     "a control vector, a change to a model, which judgeq does not apply: name the model's file"},
    {"general.architecture", "imatrix", "an importance matrix, for quantising a model: name the model's file"},
    {"general.architecture", JUDGE_ARCHITECTURE, "a judge file, not a model: give it as the judge of its model"},
    {"general.architecture", SESSION_ARCHITECTURE,
     "a session's file, not a model: load its model, and then the session"},
};

judgeq_status model_kind_check(const gguf_file *file, judgeq_error *error) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const char *value = "";
        judgeq_status status = gguf_read_string(file, kinds[i].key, GGUF_OPTIONAL, &value, error);
        if (status != JUDGEQ_OK) return status;
        if (strcmp(value, kinds[i].value) != 0) continue;
        return error_set(error, JUDGEQ_ERROR_UNSUPPORTED, "%s: is %s", file->path, kinds[i].what);
    }
    if (gguf_file_n_tensors(file) > 0) return JUDGEQ_OK;
    if (gguf_find_key(file->gguf, "tokenizer.ggml.model") < 0) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: holds no tensors: is it a model?", file->path);
    }
    return error_set(error, JUDGEQ_ERROR_UNSUPPORTED,
                     "%s: holds a vocabulary and no weights: name a model with weights", file->path);
}
