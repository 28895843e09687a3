/* A plugin that passes the handshake and fails in `check` or in `create`, as its CASE_x says. */
#include <polyport_plugin.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAYBE_UNUSED __attribute__((unused))

MAYBE_UNUSED static pp_status refuse(pp_text *error, const char *why) {
  size_t n = strlen(why);
  if (n > error->cap) n = error->cap;
  memcpy(error->ptr, why, n);
  error->len = n;
  return PP_E_CONFIG;
}

static pp_status check(const pp_settings *settings, pp_text *error) {
  (void)settings, (void)error;
#if defined(CASE_check_refuses)
  return refuse(error, "`root` is \x1b[31mno folder");
#elif defined(CASE_check_says_nothing)
  return PP_E_UNSUPPORTED;
#elif defined(CASE_check_lies_about_length)
  error->ptr[0] = 'x';
  error->len = 1u << 30;
  return PP_E_CONFIG;
#elif defined(CASE_check_loops)
  for (volatile int on = 1; on;) {
  }
#elif defined(CASE_check_allocates)
  /* Address space only: without a bound this must not hurt the machine that tests it. */
  for (int gib = 0; gib < 4; gib++)
    if (malloc((size_t)1 << 30) == NULL) return refuse(error, "memory is bounded");
#elif defined(CASE_check_closes_descriptors)
  for (int fd = 0; fd < 1024; fd++) close(fd);
#elif defined(CASE_check_forks)
  pid_t child = fork();
  if (child == 0) _exit(0);
  if (child < 0) return refuse(error, "fork is refused");
#endif
  return PP_OK;
}

static pp_status create(const pp_host_api *api, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error) {
  (void)api, (void)host, (void)settings, (void)instance, (void)error;
#if defined(CASE_create_refuses)
  return refuse(error, "the database is away");
#elif defined(CASE_create_segfaults)
  *(volatile int *)(uintptr_t)16 = 1;
#elif defined(CASE_create_reads)
  int fd = open("/etc/passwd", O_RDONLY);
  if (fd < 0) return refuse(error, "it cannot be read");
  close(fd);
#elif defined(CASE_create_sleeps)
  for (;;) pause();
#endif
  return PP_OK;
}

static void destroy(void *instance) {
  (void)instance;
#if defined(CASE_create_refuses)
  abort(); /* nothing was created */
#endif
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
    .name = "starts",
    .version = "1.0.0",
    .check = check,
    .create = create,
    .destroy = destroy,
    .feed = feed,
};

const pp_plugin *polyport_plugin_v1(void) { return &table; }
