# pressure: where pressure is sensed, how much to give back, who is asked.
core_sources += %D%/address.c %D%/address.h
core_sources += %D%/control.c %D%/control.h
core_sources += %D%/describe.c %D%/describe.h
core_sources += %D%/json.c %D%/json.h
core_sources += %D%/listener.c %D%/listener.h
