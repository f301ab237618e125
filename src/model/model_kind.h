/* model_kind: GGUF files that are not a language model, named for what they are. */
#ifndef JUDGEQ_SRC_MODEL_KIND_H
#define JUDGEQ_SRC_MODEL_KIND_H

#include "gguf_file.h"

#define SESSION_ARCHITECTURE "judgeq-session" /* general.architecture of a session's file (session/snapshot.h) */

/* UNSUPPORTED for adapters, encoders of images, importance matrices, judges, sessions, vocabularies without weights and
 * so on. */
judgeq_status model_kind_check(const gguf_file *file, judgeq_error *error);

#endif
