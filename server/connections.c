#include "connections.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#include "base/clock.h"

struct connection {
    int socket;
    double due; /* on clock_seconds; 0: never */
    bool rests;
    connection *next, *before;
};

struct connections {
    pthread_mutex_t lock;
    pthread_cond_t changed; /* also: a time has come */
    pthread_t thread;
    bool ending;
    connection *first;
};

static void shut_late(connections *all) {
    const double now = clock_seconds();
    for (connection *one = all->first; one; one = one->next) {
        if (one->due == 0 || now < one->due) continue;
        shutdown(one->socket, SHUT_RDWR); /* its thread wakes, and closes it */
        one->due = 0;
    }
}

/* Under the lock: for a part of a second, or until something has changed. */
static void wait_a_little(connections *all) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += 200000000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&all->changed, &all->lock, &until);
}

static void *watch(void *data) {
    connections *all = data;
    pthread_mutex_lock(&all->lock);
    while (!all->ending) {
        wait_a_little(all);
        shut_late(all);
    }
    pthread_mutex_unlock(&all->lock);
    return NULL;
}

connections *connections_new(void) {
    connections *all = calloc(1, sizeof *all);
    if (!all) return NULL;
    if (pthread_mutex_init(&all->lock, NULL) == 0) {
        if (pthread_cond_init(&all->changed, NULL) == 0) {
            if (pthread_create(&all->thread, NULL, watch, all) == 0) return all;
            pthread_cond_destroy(&all->changed);
        }
        pthread_mutex_destroy(&all->lock);
    }
    free(all);
    return NULL;
}

void connections_free(connections *all) {
    if (!all) return;
    pthread_mutex_lock(&all->lock);
    all->ending = true;
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
    pthread_join(all->thread, NULL);
    while (all->first) {
        connection *one = all->first;
        all->first = one->next;
        free(one);
    }
    pthread_cond_destroy(&all->changed);
    pthread_mutex_destroy(&all->lock);
    free(all);
}

connection *connections_add(connections *all, int socket) {
    connection *one = calloc(1, sizeof *one);
    if (!one) return NULL;
    one->socket = socket;
    one->rests = true;
    pthread_mutex_lock(&all->lock);
    one->next = all->first;
    if (one->next) one->next->before = one;
    all->first = one;
    pthread_mutex_unlock(&all->lock);
    return one;
}

void connections_remove(connections *all, connection *one) {
    if (!one) return;
    pthread_mutex_lock(&all->lock);
    if (one->next) one->next->before = one->before;
    *(one->before ? &one->before->next : &all->first) = one->next;
    pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
    free(one);
}

static void set(connections *all, connection *one, double seconds, bool rests) {
    if (!one) return;
    pthread_mutex_lock(&all->lock);
    one->due = seconds > 0 ? clock_seconds() + seconds : 0;
    one->rests = rests;
    if (rests) pthread_cond_broadcast(&all->changed);
    pthread_mutex_unlock(&all->lock);
}

void connection_due(connections *all, connection *one, double seconds) {
    set(all, one, seconds, false);
}

void connection_rest(connections *all, connection *one, double seconds) {
    set(all, one, seconds, true);
}

void connection_busy(connections *all, connection *one) {
    set(all, one, 0, false);
}

static bool all_rest(const connections *all) {
    for (const connection *one = all->first; one; one = one->next) {
        if (!one->rests) return false;
    }
    return true;
}

bool connections_wait_rest(connections *all, double seconds) {
    const double end = clock_seconds() + seconds;
    pthread_mutex_lock(&all->lock);
    while (!all_rest(all) && clock_seconds() < end) wait_a_little(all);
    const bool rest = all_rest(all);
    pthread_mutex_unlock(&all->lock);
    return rest;
}
