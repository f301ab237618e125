/* quiet: the library never prints, so ggml's and libllama's log lines go nowhere. */
#ifndef JUDGEQ_SRC_QUIET_H
#define JUDGEQ_SRC_QUIET_H

/* The first call in a process silences the logs of ggml and libllama; later calls do nothing, so an application that
 * wants those lines sets its own logger (llama_log_set) after its first call to judgeq. */
void quiet_ggml_log(void);

#endif
