/* contexts_list: contexts as clients see them. */
#ifndef JUDGEQ_SERVER_CONTEXTS_LIST_H
#define JUDGEQ_SERVER_CONTEXTS_LIST_H

#include "fields.h"
#include "service.h"

json_t *contexts_json(const service *s, const context_info *info);
/* A fault where this server has no contexts; to_write: or takes none. */
bool contexts_are_there(const service *s, bool to_write, reply_fault *fault);
/* False, with a fault, unless it is good. */
bool contexts_done(contexts_status status, const char *name, const contexts *all, const judgeq_error *error,
                   reply_fault *fault);

#endif
