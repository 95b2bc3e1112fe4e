/* Preloaded into every process of a run: fsync fails and the clock jumps as the shared control file says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

struct control {
    int64_t jump_seconds;    /* added to the wall clock */
    int64_t fsync_permille;  /* share of the calls that fail with EIO */
    int64_t fsync_failed;    /* how many have failed */
    int64_t jumped_readings; /* how often the moved clock was read */
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

static int fails(void) {
    static __thread unsigned int seed;
    if (!control || !control->fsync_permille) return 0;
    if (!seed) seed = (unsigned int)getpid();
    if (rand_r(&seed) % 1000 >= control->fsync_permille) return 0;
    __sync_fetch_and_add(&control->fsync_failed, 1);
    errno = EIO;
    return 1;
}

static int64_t jump(void) {
    if (!control || !control->jump_seconds) return 0;
    __sync_fetch_and_add(&control->jumped_readings, 1);
    return control->jump_seconds;
}

int fsync(int file) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    return fails() ? -1 : real(file);
}

int fdatasync(int file) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return fails() ? -1 : real(file);
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
