// LD_PRELOAD library that makes I/O fail with EIO for files whose path contains $FAIL_NAME, while the file $FAIL_WHEN exists.
// The content of $FAIL_WHEN selects the operations: "all" (except reads), "sync" (fsync, fdatasync), "meta" (writes of less
// than 4096 bytes) or "read".
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int fails(int fd, const char *kind) {
  const char *name = getenv("FAIL_NAME");
  const char *when = getenv("FAIL_WHEN");
  char link[64], path[4096], mode[16] = {0};
  if (name == NULL || when == NULL) return 0;
  int file = open(when, O_RDONLY);
  if (file < 0) return 0;
  if (read(file, mode, sizeof mode - 1) < 0) mode[0] = 0;
  close(file);
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return strstr(path, name) != NULL && (strcmp(mode, kind) == 0 || (strcmp(mode, "all") == 0 && strcmp(kind, "read") != 0));
}

#define FAILING(type, name, parameters, arguments, kind) \
  type name parameters { \
    static type(*real) parameters; \
    if (real == NULL) real = dlsym(RTLD_NEXT, #name); \
    if (fails(fd, kind)) { errno = EIO; return -1; } \
    return real arguments; \
  }

#define WRITE_KIND (size < 4096 ? "meta" : "data")
FAILING(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), WRITE_KIND)
FAILING(ssize_t, pwrite64, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at), WRITE_KIND)
FAILING(ssize_t, pwritev, (int fd, const struct iovec *data, int size, off_t at), (fd, data, size, at), "data")
FAILING(ssize_t, pwritev64, (int fd, const struct iovec *data, int size, off_t at), (fd, data, size, at), "data")
FAILING(int, fdatasync, (int fd), (fd), "sync")
FAILING(int, fsync, (int fd), (fd), "sync")
FAILING(ssize_t, pread64, (int fd, void *data, size_t size, off_t at), (fd, data, size, at), "read")
FAILING(ssize_t, preadv64, (int fd, const struct iovec *data, int size, off_t at), (fd, data, size, at), "read")
FAILING(ssize_t, preadv2, (int fd, const struct iovec *data, int size, off_t at, int flags), (fd, data, size, at, flags),
        "read")
