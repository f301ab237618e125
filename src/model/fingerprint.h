/* fingerprint: what a model is, in 32 hexadecimal digits: for judges, which fit every quantisation of it, and for what
 * goes on bit for bit, which fits one file only. */
#ifndef JUDGEQ_SRC_FINGERPRINT_H
#define JUDGEQ_SRC_FINGERPRINT_H

#include "model.h"

enum { FINGERPRINT_SIZE = 33 };

/* The same for every quantisation of the same weights. The first half covers architecture, hyper-parameters, rotation
 * and vocabulary. The second half covers norms and biases: they are F32 in every GGUF file, quantising leaves their
 * bits alone, and training a model further changes them. */
void fingerprint_model(const judgeq_model *model, char out[FINGERPRINT_SIZE]);

/* Of this quantisation alone: hyper-parameters, tensors' types and a sample of every tensor. */
void fingerprint_file(const judgeq_model *model, char out[FINGERPRINT_SIZE]);

/* Of any bytes: their XXH3, 128 bits. */
void fingerprint_bytes(const void *data, size_t size, char out[FINGERPRINT_SIZE]);

/* Of a judge's vectors soft [n_depth, n_soft, n_embd] and their shape. */
void fingerprint_judge(const judgeq_judge_info *info, const float *soft, char out[FINGERPRINT_SIZE]);

/* True where two models' fingerprints differ in norms and biases only. */
bool fingerprint_same_kind(const char *a, const char *b);

#endif
