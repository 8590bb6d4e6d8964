"""A TLS socket that one thread may write to while another reads."""
import select
import ssl
import threading
import time


class TLSSocket(ssl.SSLSocket):
    """Reads and writes take turns: OpenSSL's sessions are not made for two threads at once, and until 3.13 Python's
    sockets do not see to that. What goes wrong then looks like an end of the connection that nobody sent.
    """

    def read(self, *arguments):
        return self._in_turn(lambda: super(TLSSocket, self).read(*arguments))

    def send(self, data, flags=0):
        return self._in_turn(lambda: super(TLSSocket, self).send(data, flags))

    def _in_turn(self, call):
        turn = self.__dict__.setdefault("turn", threading.Lock())
        until = None
        while True:
            with turn:
                timeout = self.gettimeout()
                if timeout == 0 or self._sslobj is None:
                    return call()
                if until is None and timeout is not None:
                    until = time.monotonic() + timeout
                self.settimeout(0)
                try:
                    return call()
                except ssl.SSLWantReadError:
                    waiting = ([self], [])
                except ssl.SSLWantWriteError:
                    waiting = ([], [self])
                finally:
                    self.settimeout(timeout)
            # What another thread's turn has read off the connection is not seen by waiting for it.
            left = 0.2 if until is None else min(until - time.monotonic(), 0.2)
            if left <= 0:
                raise TimeoutError("timed out")
            select.select(*waiting, [], left)
