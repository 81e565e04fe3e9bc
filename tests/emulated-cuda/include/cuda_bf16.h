#pragma once
#include "small_float.h"
