/* Tries what a sandbox is there to prevent, and tells how that went: in `check`, as the option `try`
 * says, and in a session, as each line says. With CASE_reads and CASE_connects it has needs. */
#include <polyport_plugin.h>
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

static long opened(const char *path, int flags) {
  int fd = open(path, flags | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
  return fd;
}

static long reach(int kind, int port, int (*with)(int, const struct sockaddr *, socklen_t)) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int fd = socket(AF_INET, kind | SOCK_CLOEXEC, 0);
  if (fd < 0) return -1;
  int done = with(fd, (const struct sockaddr *)&at, sizeof at);
  int kept = errno;
  close(fd);
  errno = kept;
  return done;
}

static long mapped(int protection, int fd) {
  void *at = mmap(NULL, 4096, protection, fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_PRIVATE, fd, 0);
  return at == MAP_FAILED ? -1 : 0;
}

static long code_later(void) {
  void *at = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return at == MAP_FAILED ? 0 : mprotect(at, 4096, PROT_READ | PROT_EXEC);
}

static long code_in_a_file(void) {
  int fd = memfd_create("code", MFD_CLOEXEC);
  if (fd < 0 || ftruncate(fd, 4096) != 0) return 0;
  long done = mapped(PROT_READ | PROT_EXEC, fd);
  int kept = errno;
  close(fd);
  errno = kept;
  return done;
}

/* A listener that nobody listens at any more is a socket that may connect, by the way of TCP Fast Open. */
static long connect_by_sending(void) {
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(9)};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int listener = -1;
  for (int fd = 3; fd < 64 && listener < 0; fd++) {
    int listens = 0;
    socklen_t length = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens) listener = fd;
  }
  shutdown(listener, SHUT_RDWR);
  return sendto(listener, "x", 1, MSG_FASTOPEN, (const struct sockaddr *)&at, sizeof at);
}

/* Whoever a descriptor belongs to is signalled when it becomes ready. */
static long signal_by_a_pipe(void) {
  int ends[2];
  if (pipe(ends) != 0) return 0;
  long done = fcntl(ends[0], F_SETOWN, getppid());
  if (done == 0) done = fcntl(ends[0], F_SETSIG, SIGKILL);
  if (done == 0) done = fcntl(ends[0], F_SETFL, O_ASYNC | O_NONBLOCK);
  if (done == 0) done = write(ends[1], "x", 1);
  return done;
}

static long say_to_a_path(void) {
  struct sockaddr_un at = {.sun_family = AF_UNIX, .sun_path = "/run/systemd/journal/socket"};
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) != 0) return -1;
  return sendto(ends[0], "x", 1, 0, (const struct sockaddr *)&at, sizeof at);
}

static char *const nothing[] = {NULL};

/* 0 if it worked, or errno. */
static int attempt(const char *what) {
  long done = 0;
  if (!strcmp(what, "setuid")) done = setuid(0);
  else if (!strcmp(what, "bind")) done = reach(SOCK_STREAM, 80, bind);
  else if (!strcmp(what, "execve")) done = execve("/bin/true", nothing, nothing);
  else if (!strcmp(what, "ptrace")) done = ptrace(PTRACE_ATTACH, getppid(), NULL, NULL);
  else if (!strcmp(what, "kill")) done = kill(getppid(), SIGKILL);
  else if (!strcmp(what, "open")) done = opened("/etc/passwd", O_RDONLY);
  else if (!strcmp(what, "connect")) done = reach(SOCK_STREAM, 9, connect);
  else if (!strcmp(what, "write_code")) done = mapped(PROT_READ | PROT_WRITE | PROT_EXEC, -1);
  else if (!strcmp(what, "raw_socket")) done = reach(SOCK_RAW, 0, bind);
  else if (!strcmp(what, "bpf")) done = syscall(SYS_bpf, BPF_MAP_CREATE, NULL, 0);
  else if (!strcmp(what, "mount")) done = mount("none", "/mnt", "tmpfs", 0, NULL);
  else if (!strcmp(what, "unshare")) done = unshare(CLONE_NEWUSER);
  else if (!strcmp(what, "code_later")) done = code_later();
  else if (!strcmp(what, "code_in_a_file")) done = code_in_a_file();
  else if (!strcmp(what, "write")) done = opened("/etc/passwd", O_WRONLY);
  else if (!strcmp(what, "own")) done = opened("/usr/include/errno.h", O_RDONLY);
  else if (!strcmp(what, "fork")) done = fork();
  else if (!strcmp(what, "fast_open")) done = connect_by_sending();
  else if (!strcmp(what, "owner")) done = signal_by_a_pipe();
  else if (!strcmp(what, "say_to_a_path")) done = say_to_a_path();
  else return ENOSYS;
  return done < 0 ? errno : 0;
}

static const pp_option options[] = {
    {"try", "What to try while the settings are checked.", "", NULL, 0, 0, PP_KIND_TEXT, 0},
};

static pp_status check(const pp_settings *settings, pp_text *error) {
  pp_bytes wanted = PP_VALUE(settings, 0)->text;
  char what[32];
  if (wanted.len == 0) return PP_OK;
  snprintf(what, sizeof what, "%.*s", (int)wanted.len, (const char *)wanted.ptr);
  int failure = attempt(what);
  char text[64];
  error->len = (size_t)snprintf(text, sizeof text, "%s: %s", what, failure ? strerror(failure) : "done");
  memcpy(error->ptr, text, error->len);
  return PP_E_CONFIG;
}

static const pp_host_api *api;

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error) {
  (void)settings, (void)error;
  api = given;
  *instance = host;
  return PP_OK;
}

static pp_status feed(void *host, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed) {
  (void)state;
  const uint8_t *end = memchr(bytes, '\n', n);
  if (!end) return PP_OK;
  char what[32], line[96];
  snprintf(what, sizeof what, "%.*s", (int)(end - bytes), (const char *)bytes);
  *consumed = (size_t)(end - bytes) + 1;
  int failure = attempt(what);
  int told = snprintf(line, sizeof line, "%s: %s\n", what, failure ? strerror(failure) : "done");
  return api->write(host, session, line, (size_t)told, 0);
}

#if defined(CASE_reads) || defined(CASE_connects)
static const char *const files[] = {"/usr/include", NULL};
static const pp_needs_1 needs = {
    .size = sizeof(pp_needs_1),
#if defined(CASE_reads)
    .files_read = files,
#else
    .flags = PP_NEEDS_CONNECT,
#endif
};
static const void *extension(const char *id) {
#if !defined(CASE_reads)
  (void)files;
#endif
  return strcmp(id, PP_EXT_NEEDS) ? NULL : &needs;
}
#define EXTENSION extension
#else
#define EXTENSION NULL
#endif

static const pp_plugin table = {
    .magic = PP_MAGIC,
    .size = sizeof(pp_plugin),
    .major = PP_MAJOR,
    .minor = PP_MINOR,
    .name = "misbehaves",
    .version = "1.0.0",
    .options = options,
    .option_count = 1,
    .option_stride = sizeof(pp_option),
    .extension = EXTENSION,
    .check = check,
    .create = create,
    .feed = feed,
};

const pp_plugin *polyport_plugin_v1(void) { return &table; }
