/* web: the page at /, for people: server/web has its sources. */
#include <stdlib.h>
#include <string.h>

#include "report/page.h"
#include "service.h"

extern const page page_chat;

void web_page(http_request *request) {
    char *copy = malloc(page_chat.size);
    if (!copy) return;
    memcpy(copy, page_chat.bytes, page_chat.size);
    http_header(request, "Content-Security-Policy", page_chat.security);
    http_header(request, "X-Content-Type-Options", "nosniff");
    http_header(request, "Referrer-Policy", "no-referrer");
    http_header(request, "Cache-Control", "no-cache"); /* it goes with this version of the server */
    http_reply(request, 200, "text/html; charset=utf-8", copy, page_chat.size);
}
