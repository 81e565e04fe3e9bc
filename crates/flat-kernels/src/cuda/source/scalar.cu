// The numbers of a step: a program of single operations in double, carried out by one thread. A node of the program is four
// words: the operation, then the places of its operands, an address, or the bits of a number. After the nodes stand the places
// of the numbers that are wanted, which go to `row`, and that of the flag, which goes to `flag` as 0 or 1 unless that is null.
extern "C" __global__ void scalars(const u64 *program, u64 nodes, double *values, u64 wanted, double *row, unsigned char *flag) {
  if (first() != 0) return;
  for (u64 i = 0; i < nodes; i++) {
    const u64 *node = program + 4 * i;
    u64 a = node[1], b = node[2], c = node[3];
    double x;
    switch (node[0]) {
    case 0: x = number(a); break;
    case 1: x = *(const double *)a; break;
    case 2: x = double(*(const float *)a); break;
    case 3: x = double(*(const unsigned char *)a); break;
    case 4: x = values[a] + values[b]; break;
    case 5: x = values[a] * values[b]; break;
    case 6: x = sqrt(values[a]); break;
    case 7: x = values[b] == 0 ? 0 : values[a] / values[b]; break;
    case 8: x = values[a] >= number(b) ? 1 / values[a] : 0; break;
    case 9: x = values[a] > values[b] ? 1 : 0; break;
    case 10: x = values[a] != 0 ? values[b] : values[c]; break;
    case 11: x = values[a] * 0 == 0 ? 1 : 0; break;
    default: x = values[a] != 0 ? 1 : 0;
    }
    values[i] = x;
  }
  for (u64 k = 0; k < wanted; k++) row[k] = values[program[4 * nodes + k]];
  if (flag) *flag = values[program[4 * nodes + wanted]] != 0;
}
