#include "backends.h"

#include "ggml-backend.h"

#include "base/quiet.h"

void backends_load(void) {
    quiet_ggml_log();
    if (ggml_backend_dev_count() == 0) ggml_backend_load_all();
}
