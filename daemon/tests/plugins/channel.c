/* An echo that abuses its worker's channel to the supervisor, or its scoreboard: input that starts
 * with '!' makes it do what its CASE_x says, all other input is echoed. */
#include <polyport_plugin.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CHANNEL = 3, DESCRIPTORS = 253 };

static const pp_host_api *api;

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error) {
  (void)settings, (void)error;
  api = given;
  *instance = host;
  return PP_OK;
}

#define MAYBE_UNUSED __attribute__((unused)) /* by some of the cases */

MAYBE_UNUSED static void say(const char *text) { send(CHANNEL, text, strlen(text), MSG_NOSIGNAL); }

MAYBE_UNUSED static void say_much(void) {
  static char bytes[70000];
  memset(bytes, 'x', sizeof bytes);
  send(CHANNEL, bytes, sizeof bytes, MSG_NOSIGNAL);
}

MAYBE_UNUSED static void send_descriptors(void) {
  char control[CMSG_SPACE(DESCRIPTORS * sizeof(int))];
  memset(control, 0, sizeof control);
  struct iovec word = {(void *)(uintptr_t) "x", 1};
  struct msghdr message = {.msg_iov = &word,
                           .msg_iovlen = 1,
                           .msg_control = control,
                           .msg_controllen = sizeof control};
  struct cmsghdr *head = CMSG_FIRSTHDR(&message);
  head->cmsg_level = SOL_SOCKET;
  head->cmsg_type = SCM_RIGHTS;
  head->cmsg_len = CMSG_LEN(DESCRIPTORS * sizeof(int));
  for (int i = 0; i < DESCRIPTORS; i++) ((int *)(void *)CMSG_DATA(head))[i] = STDERR_FILENO;
  sendmsg(CHANNEL, &message, MSG_NOSIGNAL);
}

#if defined(CASE_fills) || defined(CASE_draws)
static uint64_t *board;
static size_t words;

/* While files may still be opened. A probe has none. */
__attribute__((constructor)) static void find_scoreboard(void) {
  FILE *maps = fopen("/proc/self/maps", "r");
  char line[512];
  while (maps && fgets(line, sizeof line, maps)) {
    unsigned long from, to;
    if (strstr(line, "polyport-scoreboard") && sscanf(line, "%lx-%lx", &from, &to) == 2) {
      board = (uint64_t *)from;
      words = (to - from) / sizeof *board;
    }
  }
  if (maps) fclose(maps);
}

/* Every bit, or anything. */
static void lie(int drawn) {
  uint64_t luck = 1;
  for (size_t at = 0; at < words; at++) {
    luck = luck * 6364136223846793005u + 1442695040888963407u;
    ((volatile uint64_t *)board)[at] = drawn ? luck : UINT64_MAX;
  }
}
#endif

static void abuse(void) {
#if defined(CASE_garbage)
  say("\xff\xfe{{{\x1b[2J");
#elif defined(CASE_oversize)
  say_much();
#elif defined(CASE_out_of_turn)
  say("{\"resolved\":{\"bytes\":1}}");
#elif defined(CASE_refusal)
  say("{\"refused\":{\"text\":\"I give \\u001b[2J up\"}}");
#elif defined(CASE_descriptors)
  send_descriptors();
#elif defined(CASE_flood)
  for (;;) {
    say("garbage");
    struct pollfd room = {CHANNEL, POLLOUT, 0};
    poll(&room, 1, -1);
  }
#elif defined(CASE_empty)
  say("");
#elif defined(CASE_closes)
  close(CHANNEL);
#elif defined(CASE_fills)
  lie(0);
#elif defined(CASE_draws)
  lie(1);
#endif
}

static pp_status feed(void *host, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed) {
  (void)state;
  *consumed = n;
  if (bytes[0] == '!') abuse();
  return api->write(host, session, bytes, n, 0);
}

static const pp_plugin table = {
    .magic = PP_MAGIC,
    .size = sizeof(pp_plugin),
    .major = PP_MAJOR,
    .minor = PP_MINOR,
    .name = "channel",
    .version = "1.0.0",
    .create = create,
    .feed = feed,
};

const pp_plugin *polyport_plugin_v1(void) { return &table; }
