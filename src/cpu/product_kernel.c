#include "product_kernel.h"

#include <string.h>

/* ---- for the processor that the program is compiled for ---------------------------------------------------------- */

#define LANES 4
#define INSTRUCTIONS "those of any such processor"
#define TILE 4
#define NAME(function) function##_4
#include "product_lanes.h"

/* ---- for newer ones ---------------------------------------------------------------------------------------------- */

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define SEVERAL_KINDS

#include <immintrin.h>

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
#define LANES 8
#define INSTRUCTIONS "AVX2"
#define TILE 4
#define NAME(function) function##_8
#include "product_lanes.h"
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4")
#define LANES 16
#define INSTRUCTIONS "AVX-512"
#define TILE 8
#define NAME(function) function##_16
#include "product_lanes.h"
#pragma GCC pop_options
#endif

const product_kernel *product_kernel_at(int index) {
    const product_kernel *known[] = {&kernel_4, NULL, NULL, NULL};
#ifdef SEVERAL_KINDS
    if (__builtin_cpu_supports("x86-64-v3")) known[1] = &kernel_8;
    if (__builtin_cpu_supports("x86-64-v4")) known[2] = &kernel_16;
#endif
    return known[index];
}

const product_kernel *product_kernel_best(void) {
    int last = 0;
    while (product_kernel_at(last + 1)) last++;
    return product_kernel_at(last);
}
