/* float_model: a copy of a GGUF model with every tensor as F32, to compare with a reference that computes in F32. */
#ifndef JUDGEQ_TESTS_FLOAT_MODEL_H
#define JUDGEQ_TESTS_FLOAT_MODEL_H

/* 0 or -1. */
int float_model_write(const char *path, const char *out);

#endif
