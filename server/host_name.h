/* host_name: whether a request was meant for this machine. A web page whose name its owner lets point at 127.0.0.1 (DNS
 * rebinding) is of the same origin as a server there for a browser, which then sends that name as the host. */
#ifndef JUDGEQ_SERVER_HOST_NAME_H
#define JUDGEQ_SERVER_HOST_NAME_H

#include <stdbool.h>
#include <stddef.h>

/* Whether a Host header names an address, localhost, a name below it, or one of names [n]; with any port. */
bool host_name_is_ours(const char *host, const char *const *names, size_t n);

#endif
