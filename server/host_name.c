#include "host_name.h"

#include <arpa/inet.h>
#include <string.h>
#include <strings.h>

enum { NAME_MOST = 255 };

/* The host without its port and brackets: false where it is too long. */
static bool split(const char *host, char name[NAME_MOST + 1], bool *brackets) {
    *brackets = host[0] == '[';
    const char *begin = host + *brackets;
    size_t n = strcspn(begin, *brackets ? "]" : ":");
    if (n > NAME_MOST) return false;
    memcpy(name, begin, n);
    if (n > 0 && name[n - 1] == '.') n--; /* the root, written out */
    name[n] = '\0';
    return true;
}

static bool is_address(const char *name, bool brackets) {
    struct in6_addr address;
    return inet_pton(brackets ? AF_INET6 : AF_INET, name, &address) == 1;
}

static bool ends_with(const char *name, const char *end) {
    const size_t n = strlen(name), n_end = strlen(end);
    return n > n_end && strcasecmp(name + n - n_end, end) == 0;
}

bool host_name_is_ours(const char *host, const char *const *names, size_t n) {
    char name[NAME_MOST + 1];
    bool brackets;
    if (!split(host, name, &brackets)) return false;
    if (is_address(name, brackets)) return true;
    if (strcasecmp(name, "localhost") == 0 || ends_with(name, ".localhost")) return true;
    for (size_t i = 0; i < n; i++) {
        if (strcasecmp(name, names[i]) == 0) return true;
    }
    return false;
}
