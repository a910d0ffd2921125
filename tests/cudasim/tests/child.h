// Runs a function in a process of its own and keeps what it printed.
#pragma once
#include <string>

struct Outcome {
    int status;         // as of waitpid; 0 = returned
    std::string output; // stdout and stderr
};
Outcome run_child(void (*run)(void), unsigned seconds);
