/* gallery: the pictures of a report, described before they are drawn. */
#ifndef JUDGEQ_REPORT_GALLERY_H
#define JUDGEQ_REPORT_GALLERY_H

#include <jansson.h>

#include "plot/chart.h"
#include "results.h"
#include "scratch.h"

typedef struct picture {
    const char *name;    /* of its files, without the ending */
    const char *section; /* of the page: "accuracy", "needle", "layers", "frontier" */
    const char *title, *about;
    chart *chart; /* the sheet's, while they are filled in; the gallery's */
    chart_sheet sheet;
} picture;

typedef struct gallery {
    scratch memory; /* of everything below, and of what the charts show */
    picture *item;  /* [n] */
    size_t n, room;
} gallery;

/* Adds a picture of `n_chart` charts, which the caller fills in; false without memory. `name` may hold anything:
 * letters, digits and -_+. remain, and a number tells equal ones apart. sheet: all but the charts. */
bool gallery_add(gallery *gallery, picture picture, size_t n_chart, chart **charts);

/* Each adds what the results have of it. */
void gallery_add_accuracy(gallery *gallery, const results *results);
void gallery_add_needles(gallery *gallery, const results *results);
void gallery_add_layers(gallery *gallery, const results *results);
void gallery_add_frontier(gallery *gallery, const results *results);

/* Draws all of them into the folder, as NAME.svg and NAME.png. *out: an array of {"name", "section", "title", "about",
 * "svg", "dark"}, the last two the pictures for a bright and a dark page; the caller's. */
judgeq_status gallery_draw(gallery *gallery, const char *folder, json_t **out, judgeq_error *error);
void gallery_free(gallery *gallery);

#endif
