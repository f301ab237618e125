/* rpc: what using and lending devices over RPC share, and the names of servers, which ggml knows by other addresses. */
#ifndef JUDGEQ_SRC_RPC_H
#define JUDGEQ_SRC_RPC_H

#include "judgeq.h"

struct addrinfo;

/* A function of ggml's RPC backend, which is looked up because not every ggml is built with it. */
judgeq_status rpc_find_function(const char *name, void **out, judgeq_error *error);

/* A socket that listens on an address, or -1 with errno. n_queued: connections that wait there. */
int rpc_listen(const struct addrinfo *address, int n_queued);

/* The server that ggml reaches at this address; the address itself, if it is none of judgeq_rpc_connect's. */
const char *rpc_server_name(const char *endpoint);

#endif
