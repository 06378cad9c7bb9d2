from skbilevel.solvers.stochastic._soba import SABA as SABA
from skbilevel.solvers.stochastic._soba import SOBA as SOBA
from skbilevel.solvers.stochastic._soba import AmigoSGD as AmigoSGD
