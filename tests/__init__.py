import signal

# What a script starts in the background ignores these, and so would all that the tests start.
for number, usual in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGQUIT, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, usual)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    # As under nohup, which goes on to hold for us; a handler is nothing that others inherit.
    signal.signal(signal.SIGHUP, lambda *_: None)
