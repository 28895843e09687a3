/* Finger (RFC 1288) in C, in the event style. Build: cc -shared -fPIC -I../include finger.c -o finger.so */
#include <stdlib.h>
#include <string.h>
#include "polyport_plugin.h"

enum { QUERY_BYTES_MAX = 512, ANSWER_BYTES_MAX = 8192 };

struct finger {
  pp_host *host;
  size_t count;
  char **people; /* each "name: text" */
};

static const pp_host_api *api; /* one table per process, so instances may share it */

static const pp_option options[] = {
  { .name = "people", .help = "Who is known, each as \"name: text\".", .default_text = "",
    .kind = PP_KIND_LIST },
};

static void destroy(void *instance)
{
  struct finger *finger = instance;
  for (size_t i = 0; i < finger->count; i++) free(finger->people[i]);
  free(finger->people);
  free(finger);
}

static pp_status refuse(struct finger *finger, pp_text *error, const char *why)
{
  destroy(finger);
  if (error) {
    error->len = strlen(why) < error->cap ? strlen(why) : error->cap;
    memcpy(error->ptr, why, error->len);
  }
  return PP_E_CONFIG;
}

static pp_status create(const pp_host_api *a, pp_host *host, const pp_settings *settings, void **instance,
                        pp_text *error)
{
  const pp_value *people = PP_VALUE(settings, 0);
  struct finger *finger = calloc(1, sizeof *finger);
  if (!finger) return PP_E_FAIL;
  api = a;
  finger->host = host;
  finger->people = calloc(people->item_count + 1, sizeof *finger->people);
  if (!finger->people) return refuse(finger, error, "no memory");
  for (size_t i = 0; i < people->item_count; i++) {
    pp_bytes item = people->items[i];
    char *text = calloc(item.len + 1, 1); /* settings are the host's, and go when `create` returns */
    if (!text) return refuse(finger, error, "no memory");
    if (item.len > 0) memcpy(text, item.ptr, item.len);
    finger->people[finger->count++] = text;
    if (!strstr(text, ": ")) return refuse(finger, error, "people: expected \"name: text\"");
  }
  *instance = finger;
  return PP_OK;
}

/* Appends to an answer, as far as there is room. */
static void say(char *answer, size_t *length, const char *text, size_t n)
{
  if (n > ANSWER_BYTES_MAX - *length) n = ANSWER_BYTES_MAX - *length;
  memcpy(answer + *length, text, n);
  *length += n;
}

static size_t answer_to(const struct finger *finger, const char *query, size_t n, char *answer)
{
  static const char denied[] = "Finger forwarding service denied.\r\n";
  static const char nobody[] = "Nobody of that name is here.\r\n";
  size_t length = 0;
  if (memchr(query, '@', n)) {
    say(answer, &length, denied, strlen(denied));
    return length;
  }
  for (size_t i = 0; i < finger->count; i++) {
    const char *text = finger->people[i];
    size_t name = (size_t)(strstr(text, ": ") - text);
    if (n > 0 && (name != n || memcmp(text, query, n) != 0)) continue;
    say(answer, &length, text, n > 0 ? strlen(text) : name);
    say(answer, &length, "\r\n", 2);
    if (n > 0) return length;
  }
  if (n > 0) say(answer, &length, nobody, strlen(nobody));
  return length;
}

static int is_blank(char c) { return c == ' ' || c == '\t' || c == '\r'; }

static void trim(const char **text, size_t *n)
{
  while (*n > 0 && is_blank((*text)[*n - 1])) --*n;
  while (*n > 0 && is_blank(**text)) ++*text, --*n;
}

static pp_status feed(void *instance, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed)
{
  static char answer[ANSWER_BYTES_MAX]; /* the one thread of the event loop is its only user */
  const struct finger *finger = instance;
  const uint8_t *end = memchr(bytes, '\n', n);
  (void)state;
  if (!end) { /* the rest of the line comes later, behind what is here */
    if (n <= QUERY_BYTES_MAX) return PP_OK;
    return api->close(finger->host, session, PP_CLOSE_FINISH, "the query is too long", 21);
  }
  const char *query = (const char *)bytes;
  size_t length = (size_t)(end - bytes);
  trim(&query, &length);
  if (length >= 2 && memcmp(query, "/W", 2) == 0) {
    query += 2;
    length -= 2;
    trim(&query, &length);
  }
  pp_status status =
    api->write(finger->host, session, answer, answer_to(finger, query, length, answer), 0);
  if (status != PP_OK) return status; /* PP_E_FULL: all of this is done again when there is room */
  *consumed = n;
  return api->close(finger->host, session, PP_CLOSE_FINISH, "answered", 8);
}

static const pp_plugin plugin = {
  .magic = PP_MAGIC, .size = sizeof plugin, .major = PP_MAJOR, .minor = PP_MINOR, .flags = PP_PEER_FIRST,
  .name = "finger", .version = "1.0.0",
  .options = options, .option_count = 1, .option_stride = sizeof(pp_option),
  .create = create, .destroy = destroy, .feed = feed,
};

const pp_plugin *polyport_plugin_v1(void) { return &plugin; }
