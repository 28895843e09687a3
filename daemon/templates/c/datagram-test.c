/* A few datagrams for the plugin, on a host of a few lines. */
#include <assert.h>
#include <stdio.h>
#include <string.h>
#include "polyport_plugin.h"

static char sent[64];
static size_t length;

static pp_status take(pp_host *host, uint64_t reply_token, const pp_address *to, const void *bytes, size_t n)
{
  (void)host;
  assert(reply_token == 7 && to == NULL && n <= sizeof sent);
  memcpy(sent, bytes, n);
  length = n;
  return PP_OK;
}

int main(void)
{
  const char *rows[][2] = { { "one", "ONE" }, { "", "" }, { "two\n", "TWO\n" } };
  const pp_host_api api = { .size = sizeof api, .major = PP_MAJOR, .minor = PP_MINOR, .send = take };
  const pp_settings settings = { .size = sizeof settings };
  const pp_datagram from = { .size = sizeof from, .reply_token = 7 };
  const pp_plugin *plugin = polyport_plugin_v1();
  void *instance = NULL;
  assert(plugin->create(&api, NULL, &settings, &instance, NULL) == PP_OK);
  for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
    const char *question = rows[i][0], *answer = rows[i][1];
    length = 0;
    assert(plugin->datagram(instance, &from, (const uint8_t *)question, strlen(question)) == PP_OK);
    assert(length == strlen(answer) && memcmp(sent, answer, length) == 0);
  }
  puts("datagrams come back in capitals: ok");
  return 0;
}
