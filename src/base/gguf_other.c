#include "gguf_other.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "error.h"

#define UNPACK "unpack it first"
#define CONVERT "convert the model to GGUF (llama.cpp's convert_hf_to_gguf.py), or download it as GGUF"
#define AGAIN "the server sent something else than the file: download it again, and check what arrives"

/* By the bytes at an offset. */
static const struct {
    size_t at, length;
    const char *bytes, *what;
} kinds[] = {
    {0, 8, "version ", "a pointer of Git LFS, not the file that it stands for: fetch that with git lfs pull"},
    {0, 4, "lmgg", "a GGML file, of before GGUF: " CONVERT},
    {0, 4, "fmgg", "a GGMF file, of before GGUF: " CONVERT},
    {0, 4, "tjgg", "a GGJT file, of before GGUF: " CONVERT},
    {0, 4, "algg", "a GGLA file, an adapter (LoRA) of before GGUF: name a model"},
    {0, 4, "FUGG", "a GGUF file with its bytes swapped: convert it with gguf_convert_endian.py"},
    {0, 4, "PK\3\4", "a ZIP archive, as PyTorch's checkpoints are too: " UNPACK ", or " CONVERT},
    {0, 2, "\x1f\x8b", "compressed by gzip: " UNPACK},
    {0, 3, "BZh", "compressed by bzip2: " UNPACK},
    {0, 6,
     "\xfd"
     "7zXZ",
     "compressed by xz: " UNPACK},
    {0, 4, "\x28\xb5\x2f\xfd", "compressed by zstd: " UNPACK},
    {0, 6, "7z\xbc\xaf\x27\x1c", "a 7z archive: " UNPACK},
    {257, 5, "ustar", "a tar archive: " UNPACK},
    {0, 6, "\x93NUMPY", "an array of NumPy: judgeq judge import makes a judge of one"},
    {0, 2, "\x80\2", "a pickle, as PyTorch's old checkpoints are: " CONVERT},
    {0, 8, "\x89HDF\r\n\x1a\n", "an HDF5 file: " CONVERT},
    {0, 4, "\0\0\0\0", "zeros at its beginning, as an incomplete download has: download it again"},
};

/* A 64-bit length and that many bytes of JSON, an object. */
static bool is_safetensors(const unsigned char *data, size_t size) {
    uint64_t length = 0;
    for (int i = 7; size > 8 && i >= 0; i--) length = length << 8 | data[i];
    return size > 8 && data[8] == '{' && length >= 2 && length <= size - 8;
}

/* data[from..) of a text, where its first line may begin: after a byte order mark and white space. */
static size_t text_begin(const unsigned char *data, size_t size) {
    size_t at = size >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < size && isspace(data[at])) at++;
    return at;
}

static bool starts(const unsigned char *data, size_t size, size_t at, const char *text) {
    const size_t length = strlen(text);
    return length <= size - at && strncasecmp((const char *)data + at, text, length) == 0;
}

/* "Entry not found": the beginning of a line of nothing but printable ASCII, 4 characters at least. */
static bool take_line(const unsigned char *data, size_t size, size_t at, char out[64]) {
    size_t n = 0;
    while (at + n < size && n < 63 && isprint(data[at + n])) n++;
    snprintf(out, 64, "%.*s", (int)n, (const char *)data + at);
    return n >= 4 && (at + n == size || n == 63 || isspace(data[at + n]));
}

judgeq_status gguf_refuse_other(const char *path, const unsigned char *data, size_t size, judgeq_error *error) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        const size_t end = kinds[i].at + kinds[i].length;
        if (size < end || memcmp(data + kinds[i].at, kinds[i].bytes, kinds[i].length) != 0) continue;
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: not a GGUF file but %s", path, kinds[i].what);
    }
    if (is_safetensors(data, size)) {
        return error_set(
            error, JUDGEQ_ERROR_FORMAT,
            "%s: not a GGUF file but a .safetensors file: " CONVERT "; a judge is read by judgeq judge import", path);
    }
    char line[64];
    const size_t at = text_begin(data, size);
    if (starts(data, size, at, "<!doctype") || starts(data, size, at, "<html") || starts(data, size, at, "<?xml")) {
        return error_set(error, JUDGEQ_ERROR_FORMAT, "%s: not a GGUF file but a web page: " AGAIN, path);
    }
    if (take_line(data, size, at, line)) {
        return error_set(error, JUDGEQ_ERROR_FORMAT,
                         "%s: not a GGUF file but a text, \"%s\": if it was downloaded, " AGAIN, path, line);
    }
    unsigned first[4] = {0};
    for (size_t i = 0; i < 4 && i < size; i++) first[i] = data[i];
    return error_set(error, JUDGEQ_ERROR_FORMAT,
                     "%s: not a GGUF file: it starts with bytes %02x %02x %02x %02x, not with \"GGUF\"", path, first[0],
                     first[1], first[2], first[3]);
}
