/* connections: who is connected, and until when a client has to send or to take what is due. libmicrohttpd only knows
 * clients that are silent; one that sends a byte now and then would keep its thread for ever. */
#ifndef JUDGEQ_SERVER_CONNECTIONS_H
#define JUDGEQ_SERVER_CONNECTIONS_H

#include <stdbool.h>

typedef struct connections connections;
typedef struct connection connection;

/* Starts the thread that shuts connections down which are late. NULL where it cannot. */
connections *connections_new(void);
/* Accepts NULL. */
void connections_free(connections *all);

/* NULL without memory. The socket stays the caller's, and is open until the connection is removed. */
connection *connections_add(connections *all, int socket);
/* Accepts NULL. */
void connections_remove(connections *all, connection *one);

/* The client's turn: within so many seconds. */
void connection_due(connections *all, connection *one, double seconds);
/* The same, but the connection rests between two requests: nobody waits for its end. */
void connection_rest(connections *all, connection *one, double seconds);
/* Ours: it may wait as long as it takes. */
void connection_busy(connections *all, connection *one);

/* Waits until all rest, or are gone; false where that takes longer. */
bool connections_wait_rest(connections *all, double seconds);

#endif
