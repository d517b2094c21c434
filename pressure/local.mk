# pressure: where pressure is sensed, how much to give back, who is asked.
core_sources += %D%/address.c %D%/address.h
core_sources += %D%/control.c %D%/control.h
core_sources += %D%/describe.c %D%/describe.h
core_sources += %D%/json.c %D%/json.h
core_sources += %D%/listener.c %D%/listener.h
core_sources += %D%/core.c %D%/core.h
core_sources += %D%/engine.c %D%/engine.h
core_sources += %D%/gate.c %D%/gate.h
core_sources += %D%/level.c %D%/level.h
core_sources += %D%/monitor.c %D%/monitor.h
core_sources += %D%/pass.c %D%/pass.h
core_sources += %D%/shrinkers.c %D%/shrinkers.h
core_sources += %D%/subscribers.c %D%/subscribers.h
core_sources += %D%/limits.c %D%/limits.h %D%/limits_parse.c
core_sources += %D%/psi.h
core_sources += %D%/sources.h
