/* Calls the library, far enough to need ggml and libllama. */
#include <judgeq.h>
#include <stdio.h>

int main(void) {
    judgeq_model *model = NULL;
    judgeq_error error = {0};
    judgeq_status status = judgeq_model_load("/nonexistent.gguf", &model, &error);
    printf("%s\n", judgeq_version());
    return status == JUDGEQ_ERROR_IO && error.message[0] ? 0 : 1;
}
