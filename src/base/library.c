/* library: what belongs to the library as a whole: its version, and the memory that it hands over. */
#include <stdlib.h>

#include "judgeq.h"

const char *judgeq_version(void) {
    return JUDGEQ_VERSION;
}

void judgeq_free(void *memory) {
    free(memory);
}
