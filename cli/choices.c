#include "choices.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "values.h"

/* Keys of a policy, and names of the options that set them. */
static const char *const KEYS[CHOICES] = {"probe", "reduce", "smooth", "allocate", "keep", "remember"};

const command_option choices_rows[] = {
    {"probe", 0, INTO(choices, value[0]), .value = COMMAND_POLICY_CHOICE},
    {"reduce", 0, INTO(choices, value[1]), .value = COMMAND_POLICY_CHOICE},
    {"smooth", 0, INTO(choices, value[2]), .value = COMMAND_POLICY_CHOICE},
    {"allocate", 0, INTO(choices, value[3]), .value = COMMAND_POLICY_CHOICE},
    {"keep", 0, INTO(choices, value[4]), .value = COMMAND_POLICY_CHOICE},
    {"remember", 0, INTO(choices, value[5]), .value = COMMAND_POLICY_CHOICE},
    {0},
};

bool choices_given(const choices *c) {
    for (int i = 0; i < CHOICES; i++) {
        if (c->value[i]) return true;
    }
    return false;
}

bool choices_have_probe(const choices *c) {
    return c->value[0] != NULL;
}

int choices_text(const choices *c, const char *command, char **text) {
    size_t length = 1, used = 0;
    for (int i = 0; i < CHOICES; i++) length += c->value[i] ? strlen(c->value[i]) + 16 : 0;
    *text = calloc(length, 1);
    if (!*text) return usage_wrong(command, "no memory for the policy");
    for (int i = 0; i < CHOICES; i++) {
        if (!c->value[i]) continue;
        if (strpbrk(c->value[i], ",;")) {
            return usage_wrong(command, "--%s \"%s\": expected one value, without a comma", KEYS[i], c->value[i]);
        }
        used += (size_t)snprintf(*text + used, length - used, ",%s=%s", KEYS[i], c->value[i]);
    }
    return 0;
}
