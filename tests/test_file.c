/* file: mapping, and writing that leaves the old file or the new one. */
#include <stddef.h>
#include <stdint.h>

#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "check.h"

static int count_entries(void) {
    DIR *entries = opendir(fixture_folder);
    assert_non_null(entries);
    int n = 0;
    while (readdir(entries)) n++;
    closedir(entries);
    return n - 2;
}

static void assert_content(const char *path, const char *expected) {
    size_t size;
    char *text = fixture_read(path, &size);
    assert_non_null(text);
    assert_int_equal(size, strlen(expected));
    assert_string_equal(text, expected);
    free(text);
}

static void test_map(void **state) {
    (void)state;
    const char *path = path_in("file");
    assert_int_equal(fixture_write(path, "abc", 3), 0);
    file_mapping map;
    assert_int_equal(file_map(path, &map, NULL), JUDGEQ_OK);
    assert_int_equal(map.size, 3);
    assert_memory_equal(map.data, "abc", 3);
    file_unmap(&map);
    assert_null(map.data);
    file_unmap(&map);
}

static void assert_map_fails(const char *path, judgeq_status code, const char *reason) {
    file_mapping map;
    judgeq_error error = {0};
    assert_int_equal(file_map(path, &map, &error), code);
    assert_int_equal(error.code, code);
    assert_non_null(strstr(error.message, path));
    assert_non_null(strstr(error.message, reason));
    assert_null(map.data);
}

static void test_map_errors(void **state) {
    (void)state;
    assert_map_fails(path_in("missing"), JUDGEQ_ERROR_IO, "No such file");
    assert_map_fails(fixture_folder, JUDGEQ_ERROR_IO, "folder");
    assert_map_fails("/dev/null", JUDGEQ_ERROR_IO, "device or pipe");
    assert_int_equal(fixture_write(path_in("empty"), "", 0), 0);
    assert_map_fails(path_in("empty"), JUDGEQ_ERROR_FORMAT, "empty");
    assert_int_equal(mkfifo(path_in("pipe"), 0600), 0); /* must not wait for a writer */
    assert_map_fails(path_in("pipe"), JUDGEQ_ERROR_IO, "device or pipe");
}

/* A file of three pages, mapped, that loses the last two. */
static const char *map_and_shrink(file_mapping *map) {
    static char three[3 * 4096];
    memset(three, 'x', sizeof three);
    const char *path = path_in("file");
    assert_int_equal(fixture_write(path, three, sizeof three), 0);
    assert_int_equal(file_map(path, map, NULL), JUDGEQ_OK);
    assert_int_equal(file_check(path, map, JUDGEQ_OK, NULL), JUDGEQ_OK);
    assert_int_equal(file_check(path, map, JUDGEQ_ERROR_FORMAT, NULL), JUDGEQ_ERROR_FORMAT);
    assert_int_equal(truncate(path, 4096), 0);
    return path;
}

static void test_shrinks(void **state) {
    (void)state;
    file_mapping map;
    judgeq_error error = {0};
    const char *path = map_and_shrink(&map);
    assert_int_equal(file_check(path, &map, JUDGEQ_ERROR_FORMAT, &error), JUDGEQ_ERROR_IO);
    assert_non_null(strstr(error.message, path));
    assert_non_null(strstr(error.message, "shorter"));
    file_unmap(&map);
}

static int n_before; /* signals that the handler before ours got */

static void count_signal(int number) {
    (void)number;
    n_before++;
}

/* Reading what is missing gives zeros, and is remembered when the file has its size again; another mapping at the same
 * place knows nothing of it. Signals that are not about a mapping reach the handler that was there. */
static void test_guard(void **state) {
    (void)state;
    file_mapping map, other;
    judgeq_error error = {0};
    signal(SIGBUS, count_signal);
    judgeq_guard_mappings();
    judgeq_guard_mappings();
    const char *path = map_and_shrink(&map);
    const volatile unsigned char *data = map.data;
    assert_int_equal(data[4095], 'x');
    assert_int_equal(data[2 * 4096], 0);
    assert_int_equal(data[4096], 0);
    assert_int_equal(truncate(path, 3 * 4096), 0);
    assert_int_equal(file_check(path, &map, JUDGEQ_OK, &error), JUDGEQ_ERROR_IO);
    assert_non_null(strstr(error.message, path));
    assert_non_null(strstr(error.message, "could not be read"));
    file_unmap(&map);
    assert_int_equal(file_map(path, &other, NULL), JUDGEQ_OK);
    assert_int_equal(file_check(path, &other, JUDGEQ_OK, NULL), JUDGEQ_OK);
    assert_int_equal(n_before, 0);
    raise(SIGBUS);
    assert_int_equal(n_before, 1);
    file_unmap(&other);
}

static void test_append(void **state) {
    (void)state;
    static char large[8192];
    const char *path = path_in("lines");
    const int descriptor = open(path, O_WRONLY | O_CREAT, 0600);
    assert_true(descriptor >= 0);
    assert_true(file_append(descriptor, "one\n", 4));
    struct rlimit limit, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const bool fits = file_append(descriptor, large, sizeof large);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_false(fits);
    assert_true(file_append(descriptor, "two\n", 4));
    assert_int_equal(close(descriptor), 0);
    assert_content(path, "one\ntwo\n");
}

static void assert_no_output(judgeq_status (*check)(const char *, judgeq_error *), const char *path,
                             const char *reason) {
    judgeq_error error = {0};
    assert_int_equal(check(path, &error), JUDGEQ_ERROR_IO);
    assert_non_null(strstr(error.message, path));
    assert_non_null(strstr(error.message, reason));
}

static void test_check_output(void **state) {
    (void)state;
    assert_int_equal(fixture_write(path_in("file"), "old", 3), 0);
    assert_int_equal(file_check_output(path_in("file"), NULL), JUDGEQ_OK);
    assert_int_equal(file_check_output(path_in("new"), NULL), JUDGEQ_OK);
    assert_int_equal(file_check_folder(path_in("new"), NULL), JUDGEQ_OK);
    assert_int_equal(file_check_folder(fixture_folder, NULL), JUDGEQ_OK);
    assert_int_equal(file_check_log("/dev/null", NULL), JUDGEQ_OK);
    assert_no_output(file_check_output, fixture_folder, "is a folder");
    assert_no_output(file_check_log, fixture_folder, "is a folder");
    assert_no_output(file_check_output, "/dev/full", "not a regular file");
    assert_no_output(file_check_output, path_in("missing/file"), "No such file");
    assert_no_output(file_check_output, path_in("file/below"), "Not a directory");
    assert_no_output(file_check_folder, path_in("file"), "no folder");
    assert_no_output(file_check_folder, path_in("missing/folder"), "No such file");
    assert_int_equal(count_entries(), 1);
    assert_content(path_in("file"), "old");
}

static void test_write(void **state) {
    (void)state;
    const char *path = path_in("file");
    mode_t mask = umask(022);
    assert_int_equal(file_write_atomic(path, "old", 3, NULL), JUDGEQ_OK);
    umask(mask);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0644);
    assert_content(path, "old");
    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(file_write_atomic(path, "newer", 5, NULL), JUDGEQ_OK);
    assert_content(path, "newer");
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0640);
    assert_int_equal(count_entries(), 1);
    assert_int_equal(file_write_atomic(path, "", 0, NULL), JUDGEQ_OK);
    assert_content(path, "");
}

static void test_write_relative(void **state) {
    (void)state;
    char before[512];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(fixture_folder), 0);
    judgeq_status status = file_write_atomic("plain", "x", 1, NULL);
    assert_int_equal(chdir(before), 0);
    assert_int_equal(status, JUDGEQ_OK);
    assert_content(path_in("plain"), "x");
}

static void test_write_through_link(void **state) {
    (void)state;
    char link_path[512];
    snprintf(link_path, sizeof link_path, "%s/link", fixture_folder);
    assert_int_equal(fixture_write(path_in("file"), "old", 3), 0);
    assert_int_equal(symlink("file", link_path), 0);
    assert_int_equal(file_write_atomic(link_path, "new", 3, NULL), JUDGEQ_OK);
    struct stat status;
    assert_int_equal(lstat(link_path, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_content(path_in("file"), "new");
}

static void assert_write_fails(const char *path, const char *reason) {
    judgeq_error error = {0};
    assert_int_equal(file_write_atomic(path, "new", 3, &error), JUDGEQ_ERROR_IO);
    assert_non_null(strstr(error.message, path));
    assert_non_null(strstr(error.message, reason));
}

static void test_write_errors(void **state) {
    (void)state;
    assert_write_fails(path_in("missing/file"), "No such file");
    assert_write_fails(fixture_folder, "not a regular file");
    assert_write_fails("/dev/full", "not a regular file");
    assert_write_fails("/proc/judgeq", "cannot create");
    assert_int_equal(fixture_write(path_in("file"), "old", 3), 0);
    assert_write_fails(path_in("file/below"), "Not a directory");
    assert_int_equal(count_entries(), 1);
    assert_content(path_in("file"), "old");
}

/* As a full disk: a part can be written, the rest not. */
static void test_write_no_space(void **state) {
    (void)state;
    static char large[65536];
    const char *path = path_in("file");
    assert_int_equal(fixture_write(path, "old", 3), 0);
    struct rlimit limit, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    judgeq_error error = {0};
    judgeq_status first = file_write_atomic(path, large, sizeof large, &error);
    judgeq_status second = file_write_atomic(path_in("other"), large, sizeof large, NULL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    signal(SIGXFSZ, SIG_DFL);
    assert_int_equal(first, JUDGEQ_ERROR_IO);
    assert_non_null(strstr(error.message, "File too large"));
    assert_non_null(strstr(error.message, "the old file is unchanged"));
    assert_int_equal(second, JUDGEQ_ERROR_IO);
    assert_content(path_in("file"), "old");
    assert_int_equal(count_entries(), 1);
}

TESTS_MAIN(NULL, NULL, IN_FOLDER(test_map), IN_FOLDER(test_map_errors), IN_FOLDER(test_shrinks), IN_FOLDER(test_guard),
           IN_FOLDER(test_append), IN_FOLDER(test_check_output), IN_FOLDER(test_write), IN_FOLDER(test_write_relative),
           IN_FOLDER(test_write_through_link), IN_FOLDER(test_write_errors), IN_FOLDER(test_write_no_space))
