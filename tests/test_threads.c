/* The chooser of threads, on made-up clocks. */
#include <stddef.h>
#include <stdint.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cores.h"
#include "base/threads.h"
#include "check.h"
#include "judgeq.h"

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place) {
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

static void remove_tree(const char *path) {
    nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Runs the chooser for `runs` graphs that take one[0] seconds with one thread and one[1] with all; the seconds lost
 * against always taking the faster way. */
static double lost_from(bool crowded, const double one[2], int runs, const threads_seen *hint, int32_t *last) {
    const threads_chooser chooser = {.most = 2, .crowded = crowded};
    threads_seen seen = {0};
    const double best = one[0] < one[1] ? one[0] : one[1];
    double all = 0;
    for (int i = 0; i < runs; i++) {
        *last = threads_choose(&chooser, &seen, hint);
        const double took = one[*last > 1];
        threads_note(&chooser, &seen, *last, 1, took);
        all += took - best;
    }
    return all;
}

static double lost(const double one[2], int runs, const threads_seen *hint, int32_t *last) {
    return lost_from(false, one, runs, hint, last);
}

static void test_takes_the_faster_way(void **state) {
    (void)state;
    const double idle[] = {2, 1}, busy[] = {1, 30};
    int32_t last = 0;
    assert_true(lost(idle, 1000, NULL, &last) < 0.06 * 1000);
    assert_int_equal(last, 2);
    assert_true(lost(busy, 1000, NULL, &last) < 30 + 0.06 * 1000);
    assert_int_equal(last, 1);
}

/* With a kind of work that was seen before, not even the first run is slow, and a short answer is over before the other
 * way is tried, which may cost as much as the whole of it. */
static void test_starts_as_the_hint_says(void **state) {
    (void)state;
    const threads_seen hint = {.speed = {1, 0.1}}, idle_hint = {.speed = {1, 2}};
    const double busy[] = {1, 30}, idle[] = {2, 1};
    int32_t last = 0;
    assert_true(lost(busy, 150, &hint, &last) == 0.0);
    assert_true(lost(busy, 1000, &hint, &last) < 0.1 * 1000);
    assert_true(lost(idle, 1000, &hint, &last) < 0.3 * 1000); /* the cores became free */
    assert_true(lost(idle, 1000, &idle_hint, &last) < 0.06 * 1000);
}

/* Where cores were taken at the beginning, all of them are tried a little later. */
static void test_starts_in_a_crowd(void **state) {
    (void)state;
    const double idle[] = {2, 1}, busy[] = {1, 3};
    int32_t last = 0;
    assert_true(lost_from(true, busy, 5, NULL, &last) == 0.0);
    assert_true(lost_from(true, busy, 60, NULL, &last) <= 2);
    assert_true(lost_from(true, idle, 1000, NULL, &last) < 5 + 0.06 * 1000);
    assert_int_equal(last, 2);
}

static void test_follows_a_change(void **state) {
    (void)state;
    const threads_chooser chooser = {.most = 2};
    threads_seen seen = {.speed = {1, 0.1}, .trial = 10};
    int with_all = 0;
    for (int i = 0; i < 1000; i++) { /* the other program has ended */
        const int32_t n = threads_choose(&chooser, &seen, NULL);
        threads_note(&chooser, &seen, n, 1, n > 1 ? 0.5 : 1);
        with_all += n > 1;
    }
    assert_true(with_all > 700);
}

static void test_does_as_it_is_told(void **state) {
    (void)state;
    const threads_seen seen = {.speed = {9, 1}};
    const int32_t cores = judgeq_cores();
    const threads_chooser one = threads_init(1), many = threads_init(1024), any = threads_init(0);
    const threads_chooser three = {.most = 3, .fixed = true};
    assert_int_equal(threads_choose(&three, &seen, NULL), 3);
    assert_int_equal(threads_choose(&one, &seen, NULL), 1);
    assert_true(many.most == cores && !many.fixed); /* more would only wait for each other */
    assert_true(any.most == cores && cores >= 1 && !any.fixed);
}

static void write_file(const char *root, const char *path, const char *text) {
    char name[512];
    snprintf(name, sizeof name, "%s/%s", root, path);
    for (char *at = name + strlen(root) + 1; (at = strchr(at, '/')); *at++ = '/') {
        *at = '\0';
        mkdir(name, 0700);
    }
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

/* What a container sees of itself in either version, from inside its own group or not. */
static void test_quotas(void **state) {
    (void)state;
    static const struct {
        const char *groups;
        const char *file[3], *text[3]; /* below sys/fs/cgroup */
        int32_t cores;
    } cases[] = {
        {"0::/\n", {"cpu.max"}, {"150000 100000\n"}, 2},
        {"0::/\n", {"cpu.max"}, {"200000 100000\n"}, 2},
        {"0::/\n", {"cpu.max"}, {"1000 100000\n"}, 1},
        {"0::/\n", {"cpu.max"}, {"max 100000\n"}, 0},
        {"0::/\n", {NULL}, {NULL}, 0},
        {"0::/a/b\n", {"a/b/cpu.max", "a/cpu.max"}, {"800000 100000\n", "300000 100000\n"}, 3},
        {"0::/a/b\n", {"a/b/cpu.max", "a/cpu.max"}, {"max 100000\n", "max 100000\n"}, 0},
        {"0::/from/outside\n", {"cpu.max"}, {"400000 100000\n"}, 4},
        {"0::/../..\n", {"cpu.max"}, {"400000 100000\n"}, 4},
        {"4:memory:/\n1:cpu:/\n0::/\n", {"cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"}, {"250000\n", "100000\n"}, 3},
        {"3:cpu,cpuacct:/job\n2:cpuset:/\n",
         {"cpu,cpuacct/job/cpu.cfs_quota_us", "cpu,cpuacct/job/cpu.cfs_period_us", "cpuset/cpu.max"},
         {"50000\n", "50000\n", "100000 100000\n"},
         1},
        {"1:cpu:/\n", {"cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"}, {"-1\n", "100000\n"}, 0},
        {"nonsense\n1:cpu\n::\n", {"cpu.max"}, {"nonsense\n"}, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char root[] = "/tmp/judgeq-test-XXXXXX";
        assert_non_null(mkdtemp(root));
        write_file(root, "proc/self/cgroup", cases[i].groups);
        for (int f = 0; f < 3 && cases[i].file[f]; f++) {
            char path[256];
            snprintf(path, sizeof path, "sys/fs/cgroup/%s", cases[i].file[f]);
            write_file(root, path, cases[i].text[f]);
        }
        const int32_t cores = cores_of_quota(root);
        remove_tree(root);
        if (cores != cases[i].cores) fail_msg("case %zu: %d cores, not %d", i, cores, cases[i].cores);
    }
    assert_int_equal(cores_of_quota("/no/such/folder"), 0);
}

static void test_free_cores(void **state) {
    (void)state;
    const int32_t online = (int32_t)sysconf(_SC_NPROCESSORS_ONLN);
    static const struct {
        const char *text;
        int32_t others;
    } cases[] = {{"0.57 0.49 0.31 1/412 9127\n", 0},
                 {"0.57 0.49 0.31 2/412 9127\n", 1},
                 {"9.00 9.00 9.00 99999/100000 1\n", 99998}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char root[] = "/tmp/judgeq-test-XXXXXX";
        assert_non_null(mkdtemp(root));
        write_file(root, "proc/loadavg", cases[i].text);
        const int32_t free = cores_free(root), expected = online - cases[i].others;
        remove_tree(root);
        assert_int_equal(free, expected > 0 ? expected : 0);
    }
    for (int i = 0; i < 2; i++) {
        char root[] = "/tmp/judgeq-test-XXXXXX";
        assert_non_null(mkdtemp(root));
        if (i == 1) write_file(root, "proc/loadavg", "nonsense\n");
        const int32_t free = cores_free(root);
        remove_tree(root);
        assert_int_equal(free, -1);
    }
}

TESTS_MAIN(NULL, NULL, cmocka_unit_test(test_takes_the_faster_way), cmocka_unit_test(test_starts_as_the_hint_says),
           cmocka_unit_test(test_follows_a_change), cmocka_unit_test(test_does_as_it_is_told),
           cmocka_unit_test(test_quotas), cmocka_unit_test(test_starts_in_a_crowd), cmocka_unit_test(test_free_cores))
