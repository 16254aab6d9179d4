/* Stands between a process and the C library (LD_PRELOAD), so it also sees the I/O of SQLite. For files below one folder it
   counts the calls, makes the n-th fail, and writes down every change with its bytes. `faults.py` speaks to it by ctypes. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES 2048
#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) real = dlsym(RTLD_NEXT, name)

static char root[4096], names[FILES][1024];
static size_t root_length;
static volatile long calls, target;
static volatile int fault;
static char fired[64];
static int log_file = -1;
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;

void io_begin(const char *folder) { root_length = strlen(folder); strcpy(root, folder); calls = 0; fired[0] = 0; }
void io_end(void) { root_length = 0; }
/* error: an errno, or -1 for a write of half the bytes. */
void io_arm(long n, int error) { target = n; fault = error; }
long io_calls(void) { return calls; }
const char *io_fired(void) { return fired; }
void io_log(int descriptor) { log_file = descriptor; }

static int is_below(const char *path) {
  return root_length && path && !strncmp(path, root, root_length) && (path[root_length] == 0 || path[root_length] == '/');
}
static const char *name_of(int fd) { return root_length && fd >= 0 && fd < FILES && names[fd][0] ? names[fd] : NULL; }
static void track(int fd, const char *path) {
  if (fd >= 0 && fd < FILES) snprintf(names[fd], sizeof names[fd], "%s", path ? path : "");
}

static int fails(const char *call) {
  int result = 0;
  pthread_mutex_lock(&lock);
  long number = ++calls;
  if (fault && number == target && (fault > 0 || !strcmp(call, "write"))) {
    result = fault;
    if (!fired[0]) snprintf(fired, sizeof fired, "%s", call);
  }
  pthread_mutex_unlock(&lock);
  if (result > 0) errno = result;
  return result;
}

static void note(char kind, const char *path, int64_t place, const void *data, uint32_t length) {
  if (log_file < 0) return;
  int before = errno;
  REAL(ssize_t, "write", int, const void *, size_t);
  const char *relative = path ? path + root_length + (path[root_length] == '/') : "";
  uint32_t path_length = strlen(relative);
  char head[17];
  head[0] = kind;
  memcpy(head + 1, &path_length, 4), memcpy(head + 5, &place, 8), memcpy(head + 13, &length, 4);
  real(log_file, head, sizeof head), real(log_file, relative, path_length), real(log_file, data, length);
  errno = before;
}
void io_mark(const char *text) { pthread_mutex_lock(&lock); note('M', NULL, 0, text, strlen(text)); pthread_mutex_unlock(&lock); }

static off64_t size_of(int fd) { return lseek64(fd, 0, SEEK_END); }

static int opened(int at, const char *path, int flags, mode_t mode) {
  REAL(int, "openat64", int, const char *, int, ...);
  if (!is_below(path)) return real(at, path, flags, mode);
  if (fails("open")) return -1;
  pthread_mutex_lock(&lock);
  int is_new = (flags & O_CREAT) && access(path, F_OK);
  int fd = real(at, path, flags, mode);
  if (fd >= 0) {
    track(fd, path);
    if (is_new) note('C', path, 0, "", 0);
    else if (flags & O_TRUNC) note('T', path, 0, "", 0);
  }
  pthread_mutex_unlock(&lock);
  return fd;
}
#define MODE mode_t mode = 0; if (flags & O_CREAT) { va_list rest; va_start(rest, flags); mode = va_arg(rest, int); va_end(rest); }
int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE return opened(at, path, flags, mode); }

DIR *opendir(const char *path) {
  REAL(DIR *, "opendir", const char *);
  return is_below(path) && fails("opendir") ? NULL : real(path);
}
int close(int fd) {
  REAL(int, "close", int);
  if (name_of(fd)) track(fd, NULL);
  return real(fd);
}

static ssize_t written(int fd, const void *data, size_t length, off64_t place, int is_placed) {
  REAL(ssize_t, "write", int, const void *, size_t);
  static ssize_t (*real_placed)(int, const void *, size_t, off64_t);
  if (!real_placed) real_placed = dlsym(RTLD_NEXT, "pwrite64");
  if (!name_of(fd)) return is_placed ? real_placed(fd, data, length, place) : real(fd, data, length);
  int failure = fails("write");
  if (failure > 0) return -1;
  if (failure) length /= 2;
  pthread_mutex_lock(&lock);
  static int (*real_control)(int, int, ...);
  if (!real_control) real_control = dlsym(RTLD_NEXT, "fcntl64");
  if (!is_placed) {
    off64_t now = lseek64(fd, 0, SEEK_CUR);
    place = real_control(fd, F_GETFL) & O_APPEND ? size_of(fd) : now;
    lseek64(fd, now, SEEK_SET);
  }
  ssize_t count = is_placed ? real_placed(fd, data, length, place) : real(fd, data, length);
  if (count > 0) note('W', names[fd], place, data, count);
  pthread_mutex_unlock(&lock);
  return count;
}
ssize_t write(int fd, const void *data, size_t length) { return written(fd, data, length, 0, 0); }
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t place) { return written(fd, data, length, place, 1); }

ssize_t read(int fd, void *data, size_t length) {
  REAL(ssize_t, "read", int, void *, size_t);
  return name_of(fd) && fails("read") ? -1 : real(fd, data, length);
}
ssize_t pread64(int fd, void *data, size_t length, off64_t place) {
  REAL(ssize_t, "pread64", int, void *, size_t, off64_t);
  return name_of(fd) && fails("read") ? -1 : real(fd, data, length, place);
}

/* Calls that change something: they fail, or are done and written down. */
#define CHANGE(call, condition, action, kind, path, place, data, length) \
  if (!(condition)) return action; \
  if (fails(call)) return -1; \
  pthread_mutex_lock(&lock); \
  int result = action; \
  if (!result) note(kind, path, place, data, length); \
  pthread_mutex_unlock(&lock); \
  return result;

int ftruncate64(int fd, off64_t size) {
  REAL(int, "ftruncate64", int, off64_t);
  CHANGE("ftruncate", name_of(fd), real(fd, size), 'T', names[fd], size, "", 0)
}
int fsync(int fd) { REAL(int, "fsync", int); CHANGE("fsync", name_of(fd), real(fd), 'F', names[fd], 0, "", 0) }
int fdatasync(int fd) { REAL(int, "fdatasync", int); CHANGE("fsync", name_of(fd), real(fd), 'F', names[fd], 0, "", 0) }
int unlink(const char *path) {
  REAL(int, "unlink", const char *);
  CHANGE("unlink", is_below(path), real(path), 'U', path, 0, "", 0)
}
int mkdir(const char *path, mode_t mode) {
  REAL(int, "mkdir", const char *, mode_t);
  CHANGE("mkdir", is_below(path), real(path, mode), 'D', path, 0, "", 0)
}
int rmdir(const char *path) { REAL(int, "rmdir", const char *); CHANGE("rmdir", is_below(path), real(path), 'U', path, 0, "", 0) }
static int named(const char *call, char kind, const char *from, const char *to) {
  static int (*real_rename)(const char *, const char *), (*real_link)(const char *, const char *);
  if (!real_rename) real_rename = dlsym(RTLD_NEXT, "rename"), real_link = dlsym(RTLD_NEXT, "link");
  int (*real)(const char *, const char *) = kind == 'R' ? real_rename : real_link;
  if (!is_below(to)) return real(from, to);
  if (fails(call)) return -1;
  pthread_mutex_lock(&lock);
  int result = real(from, to);
  if (!result) {
    const char *relative = to + root_length + 1;
    note(kind, from, 0, relative, strlen(relative));
    for (int fd = 0; kind == 'R' && fd < FILES; fd++) if (!strcmp(names[fd], from)) track(fd, to);
  }
  pthread_mutex_unlock(&lock);
  return result;
}
int rename(const char *from, const char *to) { return named("rename", 'R', from, to); }
int link(const char *from, const char *to) { return named("link", 'L', from, to); }

int flock(int fd, int operation) {
  REAL(int, "flock", int, int);
  return name_of(fd) && fails(operation & LOCK_UN ? "unlock" : "lock") ? -1 : real(fd, operation);
}
int fcntl64(int fd, int command, ...) {
  REAL(int, "fcntl64", int, int, ...);
  va_list rest;
  va_start(rest, command);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  const char *name = name_of(fd);
  int is_lock = command == F_SETLK || command == F_SETLKW || command == F_GETLK;
  int is_copy = command == F_DUPFD || command == F_DUPFD_CLOEXEC;
  if (name && (is_lock || is_copy)) {
    const char *call = is_copy ? "dup" : ((struct flock *)argument)->l_type == F_UNLCK ? "unlock" : "lock";
    if (fails(call)) return -1;
  }
  int result = real(fd, command, argument);
  if (name && is_copy && result >= 0) track(result, name);
  return result;
}
int fcntl(int fd, int command, ...) {
  va_list rest;
  va_start(rest, command);
  void *argument = va_arg(rest, void *);
  va_end(rest);
  return fcntl64(fd, command, argument);
}
void *mmap64(void *at, size_t length, int protection, int flags, int fd, off64_t place) {
  REAL(void *, "mmap64", void *, size_t, int, int, int, off64_t);
  return name_of(fd) && fails("mmap") ? MAP_FAILED : real(at, length, protection, flags, fd, place);
}

struct stat64;
int stat64(const char *path, struct stat64 *into) {
  REAL(int, "stat64", const char *, struct stat64 *);
  return is_below(path) && fails("stat") ? -1 : real(path, into);
}
int lstat64(const char *path, struct stat64 *into) {
  REAL(int, "lstat64", const char *, struct stat64 *);
  return is_below(path) && fails("stat") ? -1 : real(path, into);
}
int fstat64(int fd, struct stat64 *into) {
  REAL(int, "fstat64", int, struct stat64 *);
  return name_of(fd) && fails("stat") ? -1 : real(fd, into);
}
int fstatat64(int at, const char *path, struct stat64 *into, int flags) {
  REAL(int, "fstatat64", int, const char *, struct stat64 *, int);
  return is_below(path) && fails("stat") ? -1 : real(at, path, into, flags);
}
int access(const char *path, int mode) {
  REAL(int, "access", const char *, int);
  return real(path, mode);
}
int utimensat(int at, const char *path, const struct timespec times[2], int flags) {
  REAL(int, "utimensat", int, const char *, const struct timespec *, int);
  return is_below(path) && fails("utime") ? -1 : real(at, path, times, flags);
}
int chmod(const char *path, mode_t mode) {
  REAL(int, "chmod", const char *, mode_t);
  return is_below(path) && fails("chmod") ? -1 : real(path, mode);
}
