/* chat: messages in the model's chat template, as text and as tokens. */
#ifndef JUDGEQ_SRC_CHAT_H
#define JUDGEQ_SRC_CHAT_H

#include "model.h"

/* Reads the template of model->file into model->chat. A file without one, or with one that the engine does not know,
 * is loaded all the same; whoever renders is told. */
judgeq_status chat_load(judgeq_model *model, judgeq_error *error);
void chat_free(judgeq_model *model);

#endif
