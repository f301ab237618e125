#include "tiny_vocabulary.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Values of tokenizer.ggml.token_type, from the GGUF specification. */
enum { TYPE_NORMAL = 1, TYPE_UNKNOWN = 2, TYPE_CONTROL = 3, TYPE_BYTE = 6 };

enum { MAX_TOKENS = 512, MAX_TEXT = 24 };

typedef struct vocabulary {
    int n;
    char text[MAX_TOKENS][2 * MAX_TEXT];
    float scores[MAX_TOKENS];
    int32_t types[MAX_TOKENS];
    const char *pointers[MAX_TOKENS];
} vocabulary;

static const char *const chat_template =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + "
    "'\n'}}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/* Pieces of two or more characters. Each is the join of two earlier ones, so that merging reaches it. "_" stands for
 * the space character of the vocabulary (U+2581 in SPM, U+0120 in BPE). */
static const char *const joins[][2] = {
    {"_", "t"}, {"h", "e"},  {"_t", "he"},  {"i", "n"}, {"_", "a"},  {"r", "e"}, {"o", "n"},  {"_", "r"},
    {"o", "o"}, {"oo", "m"}, {"_r", "oom"}, {"_", "i"}, {"_i", "n"}, {"e", "r"}, {"in", "g"}, {"_", "s"},
};
enum { N_JOINS = sizeof joins / sizeof joins[0] };

static void add(vocabulary *v, const char *text, float score, int32_t type) {
    snprintf(v->text[v->n], sizeof v->text[0], "%s", text);
    v->scores[v->n] = score;
    v->types[v->n] = type;
    v->pointers[v->n] = v->text[v->n];
    v->n++;
}

/* `text` with every "_" replaced by `space`. */
static void spell(const char *text, const char *space, char out[MAX_TEXT]) {
    size_t length = 0;
    for (; *text; text++) {
        const char *piece = *text == '_' ? space : (const char[]){*text, 0};
        length += (size_t)snprintf(out + length, MAX_TEXT - length, "%s", piece);
    }
    out[length] = 0;
}

static void add_joins(vocabulary *v, const char *space) {
    for (int i = 0; i < N_JOINS; i++) {
        char left[MAX_TEXT], right[MAX_TEXT], joined[2 * MAX_TEXT];
        spell(joins[i][0], space, left);
        spell(joins[i][1], space, right);
        snprintf(joined, sizeof joined, "%s%s", left, right);
        add(v, joined, (float)-i, TYPE_NORMAL);
    }
}

static void fill_spm(vocabulary *v) {
    add(v, "<unk>", 0, TYPE_UNKNOWN);
    add(v, "<s>", 0, TYPE_CONTROL);
    add(v, "</s>", 0, TYPE_CONTROL);
    for (int byte = 0; byte < 256; byte++) {
        char text[MAX_TEXT];
        snprintf(text, sizeof text, "<0x%02X>", byte);
        add(v, text, 0, TYPE_BYTE);
    }
    add_joins(v, "\xE2\x96\x81");
    add(v, "\xE2\x96\x81", -N_JOINS, TYPE_NORMAL);
    for (int i = 0; i < 26; i++) {
        add(v, (const char[]){(char)('a' + i), 0}, (float)(-N_JOINS - 1 - i), TYPE_NORMAL);
    }
    add(v, "<|im_start|>", 0, TYPE_CONTROL);
    add(v, "<|im_end|>", 0, TYPE_CONTROL);
}

/* GPT-2's byte alphabet: printable Latin-1 bytes are themselves, the 68 others are U+0100 onwards, in order. */
static void add_byte_alphabet(vocabulary *v) {
    int next = 0x100;
    for (int byte = 0; byte < 256; byte++) {
        bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
        int code = printable ? byte : next++;
        char text[3] = {(char)code, 0, 0};
        if (code >= 0x80) {
            text[0] = (char)(0xC0 | code >> 6);
            text[1] = (char)(0x80 | (code & 0x3F));
        }
        add(v, text, 0, TYPE_NORMAL);
    }
}

static void fill_bpe(vocabulary *v) {
    add(v, "<|endoftext|>", 0, TYPE_CONTROL);
    add(v, "<|im_start|>", 0, TYPE_CONTROL);
    add(v, "<|im_end|>", 0, TYPE_CONTROL);
    add_byte_alphabet(v);
    add_joins(v, "\xC4\xA0");
}

static void write_merges(struct gguf_context *gguf) {
    char text[N_JOINS][2 * MAX_TEXT];
    const char *pointers[N_JOINS];
    for (int i = 0; i < N_JOINS; i++) {
        char left[MAX_TEXT], right[MAX_TEXT];
        spell(joins[i][0], "\xC4\xA0", left);
        spell(joins[i][1], "\xC4\xA0", right);
        snprintf(text[i], sizeof text[i], "%s %s", left, right);
        pointers[i] = text[i];
    }
    gguf_set_arr_str(gguf, "tokenizer.ggml.merges", pointers, N_JOINS);
}

int tiny_vocabulary_write(const tiny_spec *spec, struct gguf_context *gguf) {
    vocabulary *v = calloc(1, sizeof *v);
    if (!v) return -1;
    bool bpe = spec->vocabulary == TINY_VOCABULARY_BPE;
    gguf_set_val_str(gguf, "tokenizer.ggml.model", bpe ? "gpt2" : "llama");
    if (bpe) {
        fill_bpe(v);
        write_merges(gguf);
        const char *pre = spec->pre ? spec->pre : "smollm";
        if (*pre) gguf_set_val_str(gguf, "tokenizer.ggml.pre", pre);
    } else {
        fill_spm(v);
        gguf_set_arr_data(gguf, "tokenizer.ggml.scores", GGUF_TYPE_FLOAT32, v->scores, (size_t)v->n);
        gguf_set_val_u32(gguf, "tokenizer.ggml.unknown_token_id", 0);
    }
    gguf_set_arr_str(gguf, "tokenizer.ggml.tokens", v->pointers, (size_t)v->n);
    gguf_set_arr_data(gguf, "tokenizer.ggml.token_type", GGUF_TYPE_INT32, v->types, (size_t)v->n);
    gguf_set_val_u32(gguf, "tokenizer.ggml.bos_token_id", bpe ? 0 : 1);
    gguf_set_val_u32(gguf, "tokenizer.ggml.eos_token_id", bpe ? 0 : 2);
    gguf_set_val_bool(gguf, "tokenizer.ggml.add_bos_token", !bpe);
    if (spec->chat_template) gguf_set_val_str(gguf, "tokenizer.chat_template", chat_template);
    int n = v->n;
    free(v);
    return n;
}
