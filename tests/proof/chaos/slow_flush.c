/* Before each flush to the disk, wait as many milliseconds as the file in FLUSH_DELAY says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <errno.h>

static void dawdle(void)
{
    const char *path = getenv("FLUSH_DELAY");
    FILE *file = path ? fopen(path, "r") : NULL;
    long delay = 0;
    struct timespec left;

    if (file) {
        if (fscanf(file, "%ld", &delay) != 1)
            delay = 0;
        fclose(file);
    }
    left.tv_sec = delay / 1000;
    left.tv_nsec = delay % 1000 * 1000000;
    while (delay && nanosleep(&left, &left) == -1 && errno == EINTR)
        ;
}

int fsync(int descriptor)
{
    int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fsync");
    dawdle();
    return real(descriptor);
}

int fdatasync(int descriptor)
{
    int (*real)(int) = (int (*)(int)) dlsym(RTLD_NEXT, "fdatasync");
    dawdle();
    return real(descriptor);
}
