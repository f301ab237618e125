/* backends: ggml's devices, where it was built with loadable backends. */
#ifndef JUDGEQ_SRC_BACKENDS_H
#define JUDGEQ_SRC_BACKENDS_H

/* Lets ggml find its devices. */
void backends_load(void);

#endif
