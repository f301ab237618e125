/* every_cpu: FOR_EVERY_CPU before a function compiles it for newer CPUs too, where the compiler can choose among the
 * versions when the program starts. Loops over floats then use the CPU's widest registers. */
#ifndef JUDGEQ_SRC_EVERY_CPU_H
#define JUDGEQ_SRC_EVERY_CPU_H

/* The loader chooses before a sanitizer has started, and what chooses is instrumented too: it would crash. */
#if defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__) &&                           \
    !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FOR_EVERY_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EVERY_CPU
#endif

#endif
