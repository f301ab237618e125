/* notes: what a user may want to know and is no failure. What app does never prints: the caller says where notes go. */
#ifndef JUDGEQ_APP_NOTES_H
#define JUDGEQ_APP_NOTES_H

/* Zeroed: nobody wants them. */
typedef struct notes {
    void (*take)(void *data, const char *note); /* one line, which may quote names from files */
    void *data;
} notes;

__attribute__((format(printf, 2, 3))) void notes_add(notes to, const char *format, ...);

#endif
