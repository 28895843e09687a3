/* A plugin that does its worst while it is only loaded and checked, as its CASE_x says. */
#include <polyport_plugin.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MAYBE_UNUSED __attribute__((unused)) /* by some of the cases */

MAYBE_UNUSED static void segfault(void) { *(volatile int *)(uintptr_t)16 = 1; }

#if defined(CASE_constructor_segfaults)
__attribute__((constructor)) static void begin(void) { segfault(); }
#elif defined(CASE_constructor_exits)
__attribute__((constructor)) static void begin(void) { exit(0); }
#elif defined(CASE_constructor_forks)
__attribute__((constructor)) static void begin(void) {
  if (fork() == 0)
    for (;;) pause();
}
#elif defined(CASE_constructor_prints)
__attribute__((constructor)) static void begin(void) {
  static const char line[] = "loaded\n";
  if (write(STDOUT_FILENO, line, sizeof line - 1) < 0) abort();
}
#elif defined(CASE_constructor_forges)
enum { CHANNEL = 3, ANSWER = 5 };
/* A probe has an empty file for its answer there, a worker its scoreboard. */
__attribute__((constructor)) static void begin(void) {
  static const char answer[] =
      "{\"name\":\"e\\u001b[2Jvil\",\"version\":\"\\u001b[31m1\",\"build_info\":\"\","
      "\"revision\":\"0.0\",\"streams\":true,\"datagrams\":false,\"blocking\":false,\"peer_first\":false,"
      "\"options\":[],\"needs\":{\"files_read\":[],\"files_write\":[],\"connect\":false,"
      "\"exec\":false,\"jit\":false}}";
  static const char admitted[] = "{\"admitted\":{\"bytes\":1}}";
  struct stat facts;
  if (fstat(ANSWER, &facts) != 0) abort();
  if (facts.st_size > 0) return;
  if (write(ANSWER, answer, sizeof answer - 1) < 0) abort();
  if (write(CHANNEL, admitted, sizeof admitted - 1) < 0) abort();
  _exit(0);
}
#endif

MAYBE_UNUSED static pp_status refuse(pp_text *error, const char *why) {
  error->len = strlen(why);
  memcpy(error->ptr, why, error->len);
  return PP_E_CONFIG;
}

static pp_status check(const pp_settings *settings, pp_text *error) {
  (void)settings, (void)error;
#if defined(CASE_check_segfaults)
  segfault();
#elif defined(CASE_check_aborts)
  abort();
#elif defined(CASE_check_exits)
  exit(0);
#elif defined(CASE_check_loops)
  for (volatile int on = 1; on;) {
  }
#elif defined(CASE_check_sleeps)
  for (;;) pause();
#elif defined(CASE_check_allocates)
  /* As plugins do that never look at the answer. */
  for (int gib = 0; gib < 10; gib++) *(volatile char *)malloc((size_t)1 << 30) = 1;
#elif defined(CASE_check_closes_descriptors)
  for (int fd = 0; fd < 1024; fd++) close(fd);
#elif defined(CASE_check_forks)
  pid_t child = fork();
  if (child == 0)
    for (;;) pause();
  if (child < 0) return refuse(error, "fork is refused");
#endif
  return PP_OK;
}

static pp_status feed(void *instance, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed) {
  (void)instance, (void)session, (void)state, (void)bytes;
  *consumed = n;
  return PP_OK;
}

static const pp_plugin table = {
    .magic = PP_MAGIC,
    .size = sizeof(pp_plugin),
    .major = PP_MAJOR,
    .minor = PP_MINOR,
    .name = "probes",
    .version = "1.0.0",
    .check = check,
    .feed = feed,
};

const pp_plugin *polyport_plugin_v1(void) { return &table; }
