/* Preloaded into every process of a run: fsync and reads of data files fail and the clock jumps, as the shared control
   file says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    int64_t jump_seconds;    /* added to the wall clock */
    int64_t fsync_permille;  /* share of the calls that fail with EIO */
    int64_t fsync_failed;    /* how many have failed */
    int64_t jumped_readings; /* how often the moved clock was read */
    int64_t read_permille;   /* share of the reads of data files that fail with EIO */
    int64_t read_failed;     /* how many have failed */
};

static struct control *control;

__attribute__((constructor)) static void attach(void) {
    const char *path = getenv("TORTURE_CONTROL");
    int file = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *found = mmap(NULL, sizeof *control, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (found != MAP_FAILED) control = found;
    close(file);
}

static int fails(const int64_t *permille, int64_t *failed) {
    static __thread unsigned int seed;
    if (!seed) seed = (unsigned int)getpid();
    if (rand_r(&seed) % 1000 >= *permille) return 0;
    __sync_fetch_and_add(failed, 1);
    errno = EIO;
    return 1;
}

static int fsync_fails(void) {
    return control && control->fsync_permille && fails(&control->fsync_permille, &control->fsync_failed);
}

static int is_data(int file) {
    char link[32], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return strstr(path, ".sqlite") != NULL;
}

static int read_fails(int file) {
    return control && control->read_permille && is_data(file) && fails(&control->read_permille, &control->read_failed);
}

static int64_t jump(void) {
    if (!control || !control->jump_seconds) return 0;
    __sync_fetch_and_add(&control->jumped_readings, 1);
    return control->jump_seconds;
}

ssize_t pread(int file, void *into, size_t size, off_t at) {
    ssize_t (*real)(int, void *, size_t, off_t) = dlsym(RTLD_NEXT, "pread");
    return read_fails(file) ? -1 : real(file, into, size, at);
}

ssize_t pread64(int file, void *into, size_t size, off64_t at) {
    ssize_t (*real)(int, void *, size_t, off64_t) = dlsym(RTLD_NEXT, "pread64");
    return read_fails(file) ? -1 : real(file, into, size, at);
}

int fsync(int file) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    return fsync_fails() ? -1 : real(file);
}

int fdatasync(int file) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return fsync_fails() ? -1 : real(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, now);
    if (status == 0 && clock == CLOCK_REALTIME) now->tv_sec += jump();
    return status;
}

int gettimeofday(struct timeval *now, void *zone) {
    static int (*real)(struct timeval *, void *);
    if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
    int status = real(now, zone);
    if (status == 0) now->tv_sec += jump();
    return status;
}

time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}
