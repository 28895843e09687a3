/* No plugin: loaded before the C library it sets the wall clock of a process aside by the seconds in the
 * file that TEST_CLOCK names, and no other clock. */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *aside;

__attribute__((constructor)) static void map(void) {
  const char *name = getenv("TEST_CLOCK");
  int fd = name ? open(name, O_RDONLY | O_CLOEXEC) : -1;
  void *page = mmap(NULL, sizeof *aside, PROT_READ, MAP_SHARED, fd, 0);
  if (page != MAP_FAILED) aside = page;
  if (fd >= 0) close(fd);
}

int clock_gettime(clockid_t which, struct timespec *now) {
  long failed = syscall(SYS_clock_gettime, which, now);
  if (!failed && which == CLOCK_REALTIME && aside) now->tv_sec += *aside;
  return (int)failed;
}
