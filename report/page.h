/* page: web pages in one file each, with style, script and data inside, which need no network and load nothing. Their
 * sources are in report/web, and of the server's page in server/web; the build embeds them. */
#ifndef JUDGEQ_REPORT_PAGE_H
#define JUDGEQ_REPORT_PAGE_H

#include <jansson.h>

#include "judgeq.h"

typedef struct page {
    const unsigned char *bytes; /* [size], HTML with the marker @DATA@ in it */
    size_t size;
    const char *security; /* a Content-Security-Policy for a page without any other style and script: these two, and
                             requests to where the page comes from */
} page;

extern const page page_kept;   /* which rows a policy keeps: the object of kept_json */
extern const page page_report; /* results of an evaluation: cli/cmd_report.c makes the object */

/* Writes the page with the data in it, whole or not at all. Texts in `data` may hold anything: the page's script shows
 * them as text, and none of their characters can end the element that holds them. */
judgeq_status page_write(const page *p, const json_t *data, const char *path, judgeq_error *error);

#endif
