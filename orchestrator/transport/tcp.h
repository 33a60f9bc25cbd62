#ifndef TRANSPORT_TCP_H
#define TRANSPORT_TCP_H

#include <netdb.h>
#include <stdint.h>

#include "nestor/context.h"

/* getaddrinfo that ends with its context. *ret is the caller's: freeaddrinfo. */
int tcp_resolve(const char *host, uint16_t port, struct addrinfo **ret, const struct context *ctx,
                struct error *err) NESTOR_CHECKED;
/* A connected, non-blocking socket without Nagle's delay. Subject of errors: "host:port". */
int tcp_dial(const char *host, uint16_t port, int *ret_fd, const struct context *ctx, struct error *err) NESTOR_CHECKED;

#endif
