/* fields: a request's JSON, bounded before it is parsed, and read field by field. A field that is absent or null leaves
 * what is there, one that makes no sense is a fault that names it, and after a fault all calls do nothing. */
#ifndef JUDGEQ_SERVER_FIELDS_H
#define JUDGEQ_SERVER_FIELDS_H

#include <jansson.h>

#include "reply.h"

enum { FIELDS_DEPTH = 64 };

/* Parses text[n], which has to be an object, no deeper than FIELDS_DEPTH and with n_values values at most: a short text
 * can take a lot of memory. NULL and a fault otherwise. The caller releases it. */
json_t *fields_parse(const char *text, size_t n, size_t n_values, reply_fault *fault);

typedef struct fields {
    const json_t *object;
    const char *within; /* the name of the object that it is a field of, with a point; "" */
    reply_fault *fault;
} fields;

/* The field, or NULL where it is absent or null, or there is a fault. */
json_t *fields_get(const fields *f, const char *name);
__attribute__((format(printf, 3, 4))) bool fields_wrong(const fields *f, const char *name, const char *format, ...);

void fields_bool(const fields *f, const char *name, bool *out);
void fields_int32(const fields *f, const char *name, int32_t least, int32_t most, int32_t *out);
void fields_float(const fields *f, const char *name, double from, double to, float *out);
/* Valid as long as the object is. */
void fields_text(const fields *f, const char *name, const char **out);
/* What is in the object `name`; its `object` is NULL where it is absent. */
fields fields_object(const fields *f, const char *name);
/* NULL where it is absent. */
const json_t *fields_array(const fields *f, const char *name);

#endif
