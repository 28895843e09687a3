/* polyport.bus/1: what anybody says is heard by everybody, in whichever worker they are. */
#include <stdlib.h>
#include <string.h>
#include <polyport_plugin.h>

enum { SUBSCRIPTION = 1, SESSIONS_MAX = 64 };

struct street {
  pp_host *host;
  const pp_bus_1 *bus;
  pp_session sessions[SESSIONS_MAX]; /* 0 is a free place */
};

static const pp_host_api *api;

static pp_bytes text(const void *bytes, size_t n) { return (pp_bytes){bytes, n}; }

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error)
{
  const pp_bus_1 *bus = given->extension(host, PP_EXT_BUS);
  (void)settings, (void)error;
  if (!bus) return PP_E_UNSUPPORTED;
  struct street *street = calloc(1, sizeof *street);
  if (!street) return PP_E_FAIL;
  api = given;
  street->host = host;
  street->bus = bus;
  *instance = street;
  return bus->subscribe(host, text("street", 6), PP_BUS_LAST, 0, 0, SUBSCRIPTION);
}

static pp_status open(void *instance, pp_session session, const pp_session_info *info, void **state)
{
  struct street *street = instance;
  (void)info;
  for (int i = 0; i < SESSIONS_MAX; i++)
    if (street->sessions[i] == 0) {
      *state = &street->sessions[i];
      street->sessions[i] = session;
      return PP_OK;
    }
  return PP_E_FAIL;
}

static void closed(void *instance, pp_session session, void *state, uint32_t why)
{
  (void)instance, (void)session, (void)why;
  *(pp_session *)state = 0;
}

static pp_status feed(void *instance, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed)
{
  struct street *street = instance;
  (void)session, (void)state;
  for (const uint8_t *end; (end = memchr(bytes + *consumed, '\n', n - *consumed)) != NULL;) {
    /* Nothing is written here: the speaker hears it as all others do, when it has its number. */
    pp_bytes line = text(bytes + *consumed, (size_t)(end - bytes) + 1 - *consumed);
    pp_status status = street->bus->publish(street->host, text("street", 6), text(NULL, 0), line, 0);
    if (status != PP_OK) return PP_E_FAIL; /* not PP_E_FULL: no room in an output would help */
    *consumed += line.len;
  }
  return PP_OK;
}

static void message(void *instance, uint64_t token, const pp_bus_message *heard)
{
  struct street *street = instance;
  pp_bytes line = heard->bytes;
  (void)token;
  for (int i = 0; i < SESSIONS_MAX; i++) /* whoever reads too slowly misses it: PP_E_FULL */
    if (street->sessions[i] != 0) api->write(street->host, street->sessions[i], line.ptr, line.len, 0);
}

/* None of a sink may be NULL. */
static void up(void *street, uint32_t is_up) { (void)street, (void)is_up; }
static void missed(void *street, uint64_t token, uint64_t from, uint64_t to)
{ (void)street, (void)token, (void)from, (void)to; }
static void caught_up(void *street, uint64_t token, uint64_t sequence)
{ (void)street, (void)token, (void)sequence; }
static void published(void *street, uint64_t token, pp_status status, uint64_t sequence)
{ (void)street, (void)token, (void)status, (void)sequence; }
static void lease(void *street, uint64_t token, pp_bytes key, uint32_t what, pp_bytes value)
{ (void)street, (void)token, (void)key, (void)what, (void)value; }
static void seen(void *street, uint64_t token, pp_bytes key, uint32_t held, pp_bytes value)
{ (void)street, (void)token, (void)key, (void)held, (void)value; }

static const void *extension(const char *id)
{
  static const pp_bus_sink_1 sink = {sizeof sink, 0, up, message, missed, caught_up, published,
                                     lease, seen};
  return strcmp(id, PP_EXT_BUS) == 0 ? &sink : NULL;
}

static const pp_plugin plugin = {
  .magic = PP_MAGIC, .size = sizeof plugin, .major = PP_MAJOR, .minor = PP_MINOR,
  .name = "shouting", .version = "1.0.0", .extension = extension, .create = create,
  .destroy = free, .open = open, .feed = feed, .closed = closed,
};

const pp_plugin *polyport_plugin_v1(void) { return &plugin; }
