/* An echo that counts: how often it was asked, and how long what it sent back was. */
#include <polyport_plugin.h>

static const pp_host_api *api;
static const pp_metrics_1 *metrics;
static uint32_t answers, answer_bytes;

static pp_bytes text(const char *bytes, size_t n) { return (pp_bytes){(const uint8_t *)bytes, n}; }
#define TEXT(literal) text(literal, sizeof(literal) - 1)

static pp_status create(const pp_host_api *given, pp_host *host, const pp_settings *settings,
                        void **instance, pp_text *error)
{
  static const uint64_t bounds[] = {80, 1000};
  const pp_metric how_often = {sizeof how_often, PP_METRIC_COUNTER, TEXT("answers"),
                               TEXT("How often something was sent back."), NULL, 0};
  const pp_metric how_long = {sizeof how_long, PP_METRIC_HISTOGRAM, TEXT("answer_bytes"),
                              TEXT("How long it was."), bounds, 2};
  (void)settings, (void)error;
  api = given;
  *instance = host;
  metrics = (const pp_metrics_1 *)api->extension(host, PP_EXT_METRICS);
  if (metrics == NULL) return PP_E_UNSUPPORTED;
  pp_status status = metrics->define(host, &how_often, &answers);
  return status == PP_OK ? metrics->define(host, &how_long, &answer_bytes) : status;
}

static pp_status feed(void *host, pp_session session, void *state, const uint8_t *bytes, size_t n,
                      size_t *consumed)
{
  (void)state;
  pp_status status = api->write(host, session, bytes, n, 0);
  if (status != PP_OK) return status; /* it comes again, and is counted then */
  metrics->add(host, answers, 1);
  metrics->record(host, answer_bytes, n);
  *consumed = n;
  return PP_OK;
}

static const pp_plugin plugin = {
  .magic = PP_MAGIC, .size = sizeof plugin, .major = PP_MAJOR, .minor = PP_MINOR,
  .name = "counting", .version = "1.0.0", .create = create, .feed = feed,
};

const pp_plugin *polyport_plugin_v1(void) { return &plugin; }
