#include "transport/http_curl.h"

#include <pthread.h>

static const struct http_failure failures[] = {
    {CURLE_COULDNT_RESOLVE_HOST, ERR_UNREACHABLE, true, "check the URL and this machine's network and DNS settings"},
    {CURLE_COULDNT_RESOLVE_PROXY, ERR_UNREACHABLE, true, "check the proxy in the environment (https_proxy)"},
    {CURLE_COULDNT_CONNECT, ERR_CONNECT_REFUSED, true, "check the URL and this machine's network"},
    {CURLE_OPERATION_TIMEDOUT, ERR_TIMEOUT, true, NULL},
    {CURLE_RECV_ERROR, ERR_UNREACHABLE, true, NULL},
    {CURLE_SEND_ERROR, ERR_UNREACHABLE, true, NULL},
    {CURLE_PARTIAL_FILE, ERR_UNREACHABLE, true, NULL},
    {CURLE_GOT_NOTHING, ERR_UNREACHABLE, true, NULL},
};

static const struct http_failure *find(const struct http_failure *rows, size_t n, CURLcode rc) {
    for (size_t i = 0; i < n; i++)
        if (rows[i].curl == rc)
            return &rows[i];
    return NULL;
}

const struct http_failure *http_failure_find(const struct http_failure *own, size_t n, CURLcode rc) {
    const struct http_failure *row = find(own, n, rc);
    return row ? row : find(failures, sizeof failures / sizeof *failures, rc);
}

static void library_init(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

void http_curl_init(void) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, library_init);
}
