/* What the tests of HTTPS ask, and how. */
#ifndef HTTPS_CHECK_H
#define HTTPS_CHECK_H

#include "nestor/http.h"
#include "tls_server.h"

/* To https://127.0.0.1:PORT/sdk (http when the server has no certificate), with the rest from `like`; insecure when
 * that asks for nothing else. The URL lives as long as the program. */
struct http *test_http_open(const struct test_tls *server, const struct http_config *like);

struct test_try {
    int rc;
    bool sent;
    struct error err;
    struct http_reply reply;
    int64_t took; /* ms */
};
/* A POST of TEST_BODY with TEST_HEADERS to the URL's path. Whatever went wrong, no secret may stand in the error. */
struct test_try test_http_post(struct http *h, const struct context *ctx);
struct test_try test_http_try(struct http *h, const struct http_request *request, const struct context *ctx);
/* Within ten seconds; must succeed with status 200 and this body. */
void test_http_fine(struct http *h, const char *body);

#define TEST_BODY "<password>hunter2</password>"
#define TEST_COOKIE "s3ss10n"

#endif
